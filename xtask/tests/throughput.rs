//! Large transfers arrive whole, by whichever way the packets leave. On veth a sender leaves the
//! checksum to the receiver: what XDP redirects must carry one that was computed in full.

mod through;

use std::fs;

use anyhow::{Context, Result, ensure};
use through::{Path, assert_counted, counters, loaded, service};
use xtask::lab::{Lab, VIP};

const LENGTH: usize = 20_000_000;

fn transfers_arrive_whole(path: Path, mtu: u32) -> Result<()> {
    let lab = loaded(path, mtu)?;
    service(&lab.balancer, "-t", 80, 1)?;
    service(&lab.balancer, "-t", 5201, 1)?;
    service(&lab.balancer, "-u", 5201, 1)?;
    a_file_is_the_same_at_the_other_end(&lab)?;

    let _server = lab.web1.spawn(["iperf3", "-s"])?;
    through::eventually(|| lab.web1.run(["iperf3", "-c", "127.0.0.1", "-n", "1K"]))?;
    let measure = |options: &[&str]| {
        let command = ["iperf3", "-c", VIP, "-J", "--connect-timeout", "10000"];
        lab.client.run(command.iter().chain(options))
    };
    measure(&["-n", "20M"]).context("TCP to the server")?;
    measure(&["-n", "20M", "-R"]).context("TCP to the client")?;
    for direction in [&[][..], &["-R"]] {
        let options = [&["-u", "-b", "20M", "-l", "1400", "-t", "1"], direction].concat();
        let report = measure(&options).context("UDP")?;
        let lost = report.rsplit_once("\"lost_percent\":").context("no loss reported")?.1;
        let lost: f64 = lost.split([',', '}', '\n']).next().unwrap_or_default().trim().parse()?;
        // A bad checksum would lose all of it; a busy machine loses some.
        ensure!(lost < 30.0, "{lost} % of the datagrams were lost {direction:?}");
    }

    match path {
        Path::Kernel => {
            assert_counted(&lab.balancer, "KernelDevice", 1_000)?;
            assert!(!counters(&lab.balancer)?.contains_key("Redirected"));
        }
        Path::Redirect | Path::Tc => {
            assert_counted(&lab.balancer, "Redirected", 1_000)?;
            assert!(!counters(&lab.balancer)?.contains_key("KernelDevice"));
        }
    }
    Ok(())
}

fn a_file_is_the_same_at_the_other_end(lab: &Lab) -> Result<()> {
    // Not periodic: swapped or repeated segments must show.
    let mut state = 1u32;
    let bytes = (0..LENGTH).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    let sent: Vec<u8> = bytes.collect();
    let files = lab.site.directory().join(format!("nginx-{}", lab.web1.name())).join("files");
    fs::create_dir_all(&files)?;
    fs::write(files.join("large"), &sent)?;
    let received = lab.site.directory().join("received");
    let url = format!("http://{VIP}/files/large");
    let command = ["curl", "-sSf", "--max-time", "60", &url, "-o"].map(std::ffi::OsStr::new);
    lab.client.run(command.into_iter().chain([received.as_os_str()]))?;
    ensure!(fs::read(&received)? == sent, "the file differs");
    Ok(())
}

#[test]
fn through_the_kernel_on_plain_veth() -> Result<()> {
    transfers_arrive_whole(Path::Kernel, 1500)
}

#[test]
fn through_the_kernel_with_frames_of_9000_bytes() -> Result<()> {
    transfers_arrive_whole(Path::Kernel, 9000)
}

#[test]
fn by_tc_in_segments_of_64_kib() -> Result<()> {
    transfers_arrive_whole(Path::Tc, 1500)
}

#[test]
fn by_tc_with_frames_of_9000_bytes() -> Result<()> {
    transfers_arrive_whole(Path::Tc, 9000)
}

#[test]
fn redirected_by_xdp() -> Result<()> {
    transfers_arrive_whole(Path::Redirect, 1500)
}

#[test]
fn redirected_by_xdp_with_frames_of_9000_bytes() -> Result<()> {
    transfers_arrive_whole(Path::Redirect, 9000)
}
