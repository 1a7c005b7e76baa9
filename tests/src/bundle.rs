//! Bundles, taken apart and put together again by a program that knows nothing of the engine but ARCHITECTURE.md: sha-256, sorted
//! JSON, tar and zstd. What it makes of an altered run is a run that proves itself, and still never happened.

use std::io::Read;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use structured_zstd::decoding::StreamingDecoder;
use structured_zstd::encoding::{CompressionLevel, StreamingEncoder};

/// A bundle, unpacked.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// Its entries by name, in order.
    pub entries: Vec<(String, Vec<u8>)>,
}

/// sha-256 as the engine writes it.
pub fn sha256(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// sha-256 under a domain.
pub fn tagged(domain: &str, bytes: &[u8]) -> String {
    sha256(&[domain.as_bytes(), &[0], bytes].concat())
}

/// The 32 bytes of a digest.
pub fn raw(digest: &str) -> Vec<u8> {
    let hex = digest.strip_prefix("sha256:").expect("a digest");
    (0..32).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hexadecimal digits")).collect()
}

/// The run digest: RFC 6962 over the receipts' digests, ordered by node, behind the pipeline's digest.
pub fn run_digest(pipeline: &str, receipts: &[String]) -> String {
    fn root(leaves: &[Vec<u8>]) -> Vec<u8> {
        match leaves {
            [] => Sha256::digest(b"").to_vec(),
            [leaf] => Sha256::digest([&[0], leaf.as_slice()].concat()).to_vec(),
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                Sha256::digest([&[1], root(left).as_slice(), root(right).as_slice()].concat()).to_vec()
            }
        }
    }
    let leaves: Vec<_> = receipts.iter().map(|digest| raw(digest)).collect();
    tagged("lockgate-run-v1", &[raw(pipeline), root(&leaves)].concat())
}

impl Bundle {
    /// Reads a bundle's file.
    pub fn read(path: &Path) -> Self {
        let file = std::fs::File::open(path).expect("open a bundle");
        let mut archive = tar::Archive::new(StreamingDecoder::new(file));
        let entries = archive.entries().expect("a tar archive").map(|entry| {
            let mut entry = entry.expect("an entry");
            let name = String::from_utf8(entry.path_bytes().into_owned()).expect("a name");
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("an entry's bytes");
            (name, bytes)
        });
        Self { entries: entries.collect() }
    }

    /// Writes it, in the order of the format.
    pub fn write(&mut self, path: &Path) {
        self.entries[2..].sort();
        let encoder =
            StreamingEncoder::new(std::fs::File::create(path).expect("make a file"), CompressionLevel::Fastest);
        let mut builder = tar::Builder::new(encoder);
        for (name, bytes) in &self.entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, &bytes[..]).expect("write an entry");
        }
        builder.into_inner().and_then(|encoder| encoder.finish()).expect("write a bundle");
    }

    /// A blob's bytes.
    pub fn blob(&self, digest: &str) -> Vec<u8> {
        let name = format!("blobs/{}", &digest[7..]);
        self.entries.iter().find(|(found, _)| *found == name).expect("a blob of the bundle").1.clone()
    }

    /// Puts a blob in the place of another; its digest.
    pub fn replace(&mut self, old: &str, bytes: &[u8]) -> String {
        let (old, new) = (format!("blobs/{}", &old[7..]), sha256(bytes));
        self.entries.retain(|(name, _)| *name != old);
        self.entries.push((format!("blobs/{}", &new[7..]), bytes.to_vec()));
        new
    }

    /// Its events.
    pub fn events(&self) -> Vec<Value> {
        let text = String::from_utf8(self.entries[1].1.clone()).expect("text");
        let body = |line: &str| serde_json::from_str::<Value>(line).expect("a record")["body"].take();
        text.lines().map(body).collect()
    }

    /// Puts other events in the place of its own, and makes the receipts' digests, the run digest and the chain of records anew,
    /// so that nothing but the truth is missing.
    pub fn set_events(&mut self, mut events: Vec<Value>) {
        let mut receipts = std::collections::BTreeMap::new();
        for event in &mut events {
            if event["event"] == "node-finished" {
                let digest = tagged("lockgate-receipt-v1", event["receipt"].to_string().as_bytes());
                event["digest"] = digest.clone().into();
                receipts.insert(event["receipt"]["node"].as_str().expect("a node").to_owned(), digest);
            }
        }
        let pipeline = events[0]["pipeline_digest"].as_str().expect("a digest").to_owned();
        if let Some(end) = events.last_mut().filter(|end| !end["digest"].is_null()) {
            end["digest"] = run_digest(&pipeline, &receipts.into_values().collect::<Vec<_>>()).into();
        }
        let mut lines = String::new();
        let mut before: Option<(u64, String)> = None;
        let text = String::from_utf8(self.entries[1].1.clone()).expect("text");
        for (line, event) in text.lines().zip(events) {
            let mut record: Value = serde_json::from_str(line).expect("a record");
            let seq = record["seq"].as_u64().expect("a number");
            record["body"] = event;
            if let Some((last, hash)) = before
                && last + 1 == seq
            {
                record["prev"] = hash.into();
            }
            record.as_object_mut().expect("an object").remove("hash");
            let hash = tagged("lockgate-record-v1", record.to_string().as_bytes());
            record["hash"] = hash.clone().into();
            before = Some((seq, hash));
            lines += &format!("{record}\n");
        }
        self.entries[1].1 = lines.into_bytes();
    }

    /// Changes the receipt of a node.
    pub fn change_receipt(&mut self, node: &str, change: impl FnOnce(&mut Value)) {
        let mut events = self.events();
        let of_node = |event: &&mut Value| event["event"] == "node-finished" && event["receipt"]["node"] == node;
        let event = events.iter_mut().find(of_node).unwrap_or_else(|| panic!("no node `{node}`"));
        change(&mut event["receipt"]);
        self.set_events(events);
    }

    /// Changes the bytes of a blob that the receipt of a node names.
    pub fn change_blob(&mut self, node: &str, pointer: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let events = self.events();
        let of_node = |event: &&Value| event["event"] == "node-finished" && event["receipt"]["node"] == node;
        let event = events.iter().find(of_node).unwrap_or_else(|| panic!("no node `{node}`"));
        let old = event["receipt"].pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {event}"));
        let old = old["digest"].as_str().expect("a digest").to_owned();
        let mut bytes = self.blob(&old);
        change(&mut bytes);
        let new = self.replace(&old, &bytes);
        self.change_receipt(node, |receipt| {
            let place = receipt.pointer_mut(pointer).expect("seen above");
            place["digest"] = new.into();
            place["size"] = bytes.len().into();
        });
    }
}
