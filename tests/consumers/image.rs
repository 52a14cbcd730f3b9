//! What lies in the private registries, as the files of distribution's storage (its `registry/storage/paths.go`): an image, a
//! Singularity image as an OCI artifact, and a Helm chart.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Repositories of one account: `REPO/tiny` with the tags `v1` (an image) and `sif`, and `REPO/chart` with `0.1.0`.
pub(crate) fn store(storage: &Path, namespace: &str) {
    let layer_tar = tar(&[("etc/hello", "hello\n")]);
    let layer = gzip(&layer_tar);
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {"Cmd": ["/etc/hello"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer_tar)]},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "a test"}],
    });
    let docker = |kind: &str| format!("application/vnd.docker.{kind}");
    let tiny = Repository { storage, name: format!("{namespace}/tiny") };
    let (image, rootfs) = (docker("container.image.v1+json"), docker("image.rootfs.diff.tar.gzip"));
    tiny.tag("v1", &docker("distribution.manifest.v2+json"), (&image, config.to_string().as_bytes()), (&rootfs, &layer), None);
    let oci = "application/vnd.oci.image.manifest.v1+json";
    let named = json!({"org.opencontainers.image.title": "tiny.sif"});
    tiny.tag("sif", oci, ("application/vnd.sylabs.sif.config.v1", b"{}"), ("application/vnd.sylabs.sif.layer.v1.sif", &sif()), Some(named));
    let about = "apiVersion: v2\nname: chart\nversion: 0.1.0\n";
    let chart = gzip(&tar(&[("chart/Chart.yaml", about)]));
    let meta = json!({"apiVersion": "v2", "name": "chart", "version": "0.1.0"}).to_string();
    let kinds = ("application/vnd.cncf.helm.config.v1+json", "application/vnd.cncf.helm.chart.content.v1.tar+gzip");
    let repository = Repository { storage, name: format!("{namespace}/chart") };
    repository.tag("0.1.0", oci, (kinds.0, meta.as_bytes()), (kinds.1, &chart), None);
}

struct Repository<'a> {
    storage: &'a Path,
    name: String,
}

impl Repository<'_> {
    /// A manifest of one configuration and one layer under a tag.
    fn tag(&self, tag: &str, kind: &str, config: (&str, &[u8]), layer: (&str, &[u8]), annotations: Option<Value>) {
        let part = |(kind, bytes): (&str, &[u8])| json!({"mediaType": kind, "digest": digest(bytes), "size": bytes.len()});
        let mut described = part(layer);
        if let Some(annotations) = annotations {
            described["annotations"] = annotations;
        }
        let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": part(config), "layers": [described]}).to_string();
        for bytes in [config.1, layer.1, manifest.as_bytes()] {
            let hex = hex(bytes);
            write(&self.root().join(format!("blobs/sha256/{}/{hex}/data", &hex[..2])), bytes);
        }
        for bytes in [config.1, layer.1] {
            self.link(&format!("_layers/sha256/{}", hex(bytes)), bytes);
        }
        let (manifest, hex) = (manifest.as_bytes(), hex(manifest.as_bytes()));
        self.link(&format!("_manifests/revisions/sha256/{hex}"), manifest);
        self.link(&format!("_manifests/tags/{tag}/current"), manifest);
        self.link(&format!("_manifests/tags/{tag}/index/sha256/{hex}"), manifest);
    }

    fn root(&self) -> std::path::PathBuf {
        self.storage.join("docker/registry/v2")
    }

    fn link(&self, place: &str, to: &[u8]) {
        write(&self.root().join("repositories").join(&self.name).join(place).join("link"), digest(to).as_bytes());
    }
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(bytes))
}

fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap()
}

/// A gzip member (RFC 1952) around miniz's deflate.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
        }
    }
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    out.extend(miniz_oxide::deflate::compress_to_vec(bytes, 6));
    out.extend((!crc).to_le_bytes());
    out.extend((bytes.len() as u32).to_le_bytes());
    out
}

/// The head of a Singularity image without objects (SIF 1: launch line, magic, version, architecture).
fn sif() -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    bytes[..19].copy_from_slice(b"#!/usr/bin/env run-");
    bytes[32..41].copy_from_slice(b"SIF_MAGIC");
    bytes[42..44].copy_from_slice(b"01");
    bytes[45..47].copy_from_slice(b"02");
    bytes
}
