//! Completions, as the shell has them, and man pages. Needs bash.

use std::process::Command;

/// What bash offers behind these words.
fn offered(words: &str) -> Vec<String> {
    let script = r#"
        source <("$0" completions bash)
        function=$(complete -p lb-ctl | sed 's/.*-F \([^ ]*\) .*/\1/')
        COMP_WORDS=("$@")
        COMP_CWORD=$(($# - 1))
        "$function" lb-ctl "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        echo "${COMPREPLY[@]}"
    "#;
    let mut command = Command::new("bash");
    command.args(["-c", script, env!("CARGO_BIN_EXE_lb-ctl")]).args(words.split(' '));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().split_whitespace().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_their_options() {
    assert_eq!(offered("lb-ctl ser"), ["service"]);
    assert_eq!(offered("lb-ctl service a"), ["add"]);
    assert_eq!(offered("lb-ctl snat-pool d"), ["del", "delete"]);
    assert_eq!(offered("lb-ctl load --hook t"), ["tc"]);
    assert!(offered("lb-ctl service add --").contains(&"--scheduler".to_owned()));
    assert!(offered("lb-ctl import-ipvs --").contains(&"--dry-run".to_owned()));
}

#[test]
fn the_page_of_ipvsadm_tells_its_options() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_lb-ctl"));
    assert!(command.arg("man").arg(directory.path()).status().unwrap().success());
    let page = std::fs::read_to_string(directory.path().join("lb-ctl-ipvsadm.1")).unwrap();
    for option in ["add-service", "u-threshold", "persistent-conn", "tun-remcsum"] {
        assert!(page.replace('\\', "").contains(&format!("--{option}")), "{option}: {page}");
    }
}
