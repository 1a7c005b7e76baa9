//! How a component lies in a registry: the CNCF's layout for WebAssembly (<https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/>),
//! so that other tools can read it. One manifest with one layer, the component itself, and a config that says what it imports and exports.

use std::collections::BTreeMap;

use lockgate_model::Digest;
use serde::{Deserialize, Serialize};

/// The manifest.
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// A list of manifests.
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The config of a component.
pub(crate) const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// The component.
pub(crate) const WASM: &str = "application/wasm";
/// The config of what has none.
pub(crate) const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// A signature of a component: lines of DSSE envelopes with in-toto statements.
pub const SIGNATURE_TYPE: &str = "application/vnd.lockgate.signature.v1";
/// Any other statement about a component, such as its provenance: lines of DSSE envelopes.
pub const ATTESTATION_TYPE: &str = "application/vnd.in-toto+json";
/// The layer of both.
pub(crate) const ENVELOPES: &str = "application/vnd.dsse.envelope.v1+json";
/// What stands in the config of what has none.
pub(crate) const NOTHING: &[u8] = b"{}";

/// What points at bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Descriptor {
    pub(crate) fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            artifact_type: None,
            annotations: BTreeMap::new(),
        }
    }
}

/// A manifest. Members that are not known are left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// A list of manifests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    pub(crate) manifests: Vec<Descriptor>,
}

impl Default for Index {
    fn default() -> Self {
        Self { schema_version: 2, media_type: Some(INDEX.to_owned()), manifests: Vec::new() }
    }
}

/// What a registry is told about a component.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// Its name by its manifest.
    pub title: String,
    /// Its version by its manifest.
    pub version: String,
    /// What it does, in a line.
    pub description: String,
    /// Its imports, as WIT names them.
    pub imports: Vec<String>,
    /// Its exports, as WIT names them.
    pub exports: Vec<String>,
}

/// The config and the manifest of a component, as bytes. The same component gives the same bytes: the time in the config is 1970.
pub(crate) fn component(bytes: &[u8], about: &About) -> (Vec<u8>, Manifest) {
    let layer = Descriptor::of(WASM, bytes);
    let config = serde_json::json!({
        "created": "1970-01-01T00:00:00Z",
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [layer.digest],
        "component": { "exports": about.exports, "imports": about.imports },
    });
    let config = config.to_string().into_bytes();
    let texts = [
        ("org.opencontainers.image.title", &about.title),
        ("org.opencontainers.image.version", &about.version),
        ("org.opencontainers.image.description", &about.description),
    ];
    let annotations = texts.into_iter().filter(|(_, text)| !text.is_empty());
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(MANIFEST.to_owned()),
        artifact_type: None,
        config: Descriptor::of(CONFIG, &config),
        layers: vec![layer],
        subject: None,
        annotations: annotations.map(|(key, text)| (key.to_owned(), text.clone())).collect(),
    };
    (config, manifest)
}

/// The manifest of envelopes about a component.
pub(crate) fn attached(subject: Descriptor, artifact_type: &str, envelopes: &[u8]) -> Manifest {
    Manifest {
        schema_version: 2,
        media_type: Some(MANIFEST.to_owned()),
        artifact_type: Some(artifact_type.to_owned()),
        config: Descriptor::of(EMPTY, NOTHING),
        layers: vec![Descriptor::of(ENVELOPES, envelopes)],
        subject: Some(subject),
        annotations: BTreeMap::new(),
    }
}

/// The one layer of a manifest that is a component; `Err` says why it is none.
pub(crate) fn wasm_layer(manifest: &Manifest) -> Result<&Descriptor, String> {
    let mut layers = manifest.layers.iter().filter(|layer| layer.media_type == WASM);
    match (layers.next(), layers.next()) {
        (Some(layer), None) => Ok(layer),
        (None, _) => {
            Err(format!("it is no WebAssembly component: none of its {} layers is `{WASM}`", manifest.layers.len()))
        }
        _ => Err(format!("it has several layers of `{WASM}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_lies_as_others_expect_it() {
        let about = About {
            title: "scan".into(),
            version: "1.2.3".into(),
            imports: vec!["lockgate:plugin/types@0.1.0".into()],
            exports: vec!["describe".into(), "run".into()],
            ..About::default()
        };
        let (config, manifest) = component(b"wasm", &about);
        let json: serde_json::Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(json["layerDigests"][0], manifest.layers[0].digest.to_string());
        assert_eq!(json["component"]["exports"][1], "run");
        let json = serde_json::to_value(&manifest).unwrap();
        assert_eq!(json["schemaVersion"], 2);
        assert_eq!(json["config"]["mediaType"], CONFIG);
        assert_eq!(json["config"]["size"], config.len());
        assert_eq!(json["layers"][0]["mediaType"], "application/wasm");
        assert_eq!(json["annotations"]["org.opencontainers.image.version"], "1.2.3");
        assert_eq!(json.get("subject"), None);
        assert_eq!(component(b"wasm", &about), (config, manifest), "one component, one manifest");
    }

    #[test]
    fn what_is_no_component_is_named() {
        let (_, mut manifest) = component(b"wasm", &About::default());
        let twice = manifest.layers[0].clone();
        manifest.layers.push(Descriptor { media_type: "text/plain".into(), ..twice.clone() });
        assert_eq!(wasm_layer(&manifest), Ok(&twice));
        manifest.layers.push(twice);
        assert!(wasm_layer(&manifest).unwrap_err().contains("several"));
        manifest.layers.retain(|layer| layer.media_type != WASM);
        assert!(wasm_layer(&manifest).unwrap_err().contains("none of its 1 layers"));
    }
}
