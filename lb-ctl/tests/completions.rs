//! Completions, as the shell has them. Needs bash.

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
