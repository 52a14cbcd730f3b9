//! `docker pull` itself: the CLI hands the login to an engine, which is played here.

use std::io::BufReader;
use std::os::unix::net::UnixListener;
use std::sync::mpsc::{Receiver, channel};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;

use super::http::{Request, respond};
use super::node::{Login, Node};
use super::{DOCKER, DOCKERS, enter, peers, write};

const SOCKET: &str = "/rig/engine";

/// An engine on [`SOCKET`], and the `X-Registry-Auth` of each pull that it was told to do.
fn engine() -> Receiver<String> {
    let listener = UnixListener::bind(SOCKET).unwrap();
    let (found, heard) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let found = found.clone();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut stream = stream;
                while let Some(request) = Request::read(&mut reader) {
                    if request.path.contains("/images/create") {
                        found.send(request.header("x-registry-auth").unwrap_or_default().to_string()).unwrap();
                        respond(&mut stream, &request, "200 OK\r\nContent-Type: application/json", "{\"status\":\"done\"}\n");
                    } else {
                        respond(&mut stream, &request, "200 OK\r\nApi-Version: 1.41\r\nOstype: linux", "OK");
                    }
                }
            });
        }
    });
    heard
}

/// What the docker CLI hands over for an image, as `user:password`; nothing when it has no login for it.
fn handed(node: &Node, heard: &Receiver<String>, image: &str) -> String {
    let ran = node.run(&format!("docker -H unix://{SOCKET} pull {image}"), &[]);
    let header = heard.try_recv().unwrap_or_else(|_| panic!("no pull reached the engine: {}", ran.said));
    let auth: serde_json::Value = serde_json::from_slice(&URL_SAFE.decode(&header).unwrap()).unwrap_or_default();
    match (auth["username"].as_str(), auth["password"].as_str()) {
        (Some(user), Some(password)) => format!("{user}:{password}"),
        _ => "nothing".to_string(),
    }
}

/// docker and skopeo find the login of a registry by its name, whatever others wrote under other names.
#[test]
#[ignore = "needs docker, skopeo and docker-registry"]
fn the_logins_of_registries_are_handed_to_the_engine_by_their_names() {
    if peers::need("skopeo").is_none() {
        return;
    }
    let Some(node) = enter("engine::the_logins_of_registries_are_handed_to_the_engine_by_their_names", &DOCKER) else { return };
    let heard = engine();
    let logins = [
        Login { name: "hub", registry: "docker.io", user: "acme", password: "dckr_pat_x:y" },
        Login { name: "ngc", registry: "nvcr.io", user: "$oauthtoken", password: "nvapi-1" },
        Login { name: "gh", registry: "ghcr.io", user: "u", password: "ghp_x" },
        Login { name: "harbor", registry: "harbor.example:8443", user: "robot$proj+ci", password: "h" },
    ];
    for written in [false, true] {
        node.clear();
        if written {
            write(&[DOCKERS]);
            node.apply("docker", &logins, 0);
        }
        for (image, registry, want) in [
            ("acme/tiny:v1", "docker.io", "acme:dckr_pat_x:y"),
            ("docker.io/library/tiny:v1", "docker.io", "acme:dckr_pat_x:y"),
            ("nvcr.io/nvidia/tiny:v1", "nvcr.io", "$oauthtoken:nvapi-1"),
            ("ghcr.io/acme/tiny:v1", "ghcr.io", "u:ghp_x"),
            ("harbor.example:8443/proj/tiny:v1", "harbor.example:8443", "robot$proj+ci:h"),
            ("quay.io/acme/tiny:v1", "quay.io", "other:pw"),
            ("elsewhere.example/tiny:v1", "elsewhere.example", "nothing"),
        ] {
            let want = if written { want } else { "nothing" };
            assert_eq!(handed(&node, &heard, image), want, "{image}");
            let said = node.run(&format!("skopeo login --get-login {registry}"), &[]).said;
            let user = want.split_once(':').map(|(user, _)| user);
            assert!(user.map_or(said.contains("not logged in"), |user| said.trim() == user), "skopeo, {registry}: {said}");
        }
    }
}
