//! A real nginx that answers every request with one line, on 80 and on 443; below `/files/` it serves
//! what lies in that directory of its prefix.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    ops::Deref,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{Namespace, Process, VIP, VIP6};
use crate::setup;

/// nginx in a namespace; it ends when this is dropped.
pub struct Nginx(Process);

impl Nginx {
    /// Starts it, and returns once it answers.
    pub fn start(namespace: &Namespace, answer: &str) -> Result<Self> {
        let nginx = setup::find("nginx").context("nginx is missing; run: cargo xtask setup")?;
        let prefix = namespace.site().directory().join(format!("nginx-{}", namespace.name()));
        fs::create_dir_all(&prefix)?;
        let names = [VIP, VIP6, "localhost"].map(str::to_owned);
        let certificate = rcgen::generate_simple_self_signed(names)?;
        fs::write(prefix.join("certificate.pem"), certificate.cert.pem())?;
        fs::write(prefix.join("key.pem"), certificate.signing_key.serialize_pem())?;
        let configuration = prefix.join("nginx.conf");
        fs::write(&configuration, self::configuration(answer))?;

        let mut process = namespace.spawn([
            nginx.as_os_str(),
            "-p".as_ref(),
            prefix.as_os_str(),
            "-c".as_ref(),
            configuration.as_os_str(),
            // Instead of the path compiled in, which is the system's.
            "-e".as_ref(),
            "stderr".as_ref(),
        ])?;
        let limit = Instant::now() + Duration::from_secs(10);
        let listens =
            |port| namespace.inside(move || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        while !(listens(80)? && listens(443)?) {
            if process.ended()?.is_some() || Instant::now() > limit {
                bail!("nginx does not answer in {}:\n{}", namespace.name(), process.log());
            }
            sleep(Duration::from_millis(10));
        }
        Ok(Self(process))
    }
}

impl Deref for Nginx {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.0
    }
}

/// Relative paths are below the prefix. Every path that Debian's build compiles in is overridden.
fn configuration(answer: &str) -> String {
    format!(
        r#"daemon off;
user root;
worker_processes 1;
pid nginx.pid;
events {{}}
http {{
    access_log off;
    default_type text/plain;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    ssl_certificate certificate.pem;
    ssl_certificate_key key.pem;
    server {{
        listen 80;
        listen [::]:80;
        listen 443 ssl;
        listen [::]:443 ssl;
        location / {{ return 200 "{answer}\n"; }}
        location /files/ {{ root .; }}
    }}
}}
"#
    )
}
