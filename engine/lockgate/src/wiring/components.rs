//! Components' bytes, kept with the runs that used them: a run names them by digest, and must be executed again years later, in
//! another process, on another machine.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use lockgate_host::{CodeCache, Host, Missing, Plugin};
use lockgate_model::event::Component;
use lockgate_model::limits::ComponentLimits;
use lockgate_model::pipeline::PluginSource;
use lockgate_model::{Digest, PluginAlias};
use lockgate_store::{Store, StoreError};

use crate::error::{Class, Error};
use crate::wiring::load::{self, Loaded, read_component};
use crate::wiring::registry;
use crate::wiring::std_plugins::EMBEDDED;

/// Puts the components of a pipeline into the store, those that are not there: one look-up each where they are.
pub fn keep(store: &Store, loaded: &Loaded) -> Result<(), Error> {
    for native in loaded.natives.values() {
        store.put_blob(native.declaration().as_bytes())?;
    }
    for (alias, plugin) in &loaded.plugins {
        let digest = plugin.digest();
        if store.has_blob(&digest)? {
            continue;
        }
        let source = loaded.parsed.plugins().get(alias);
        let bytes = source
            .and_then(|source| bytes_of(source, &loaded.root, digest))
            .filter(|bytes| Digest::of(bytes) == digest);
        let Some(bytes) = bytes else {
            let error = anyhow::anyhow!("keep the component of plugin `{alias}`: its file changed since it was loaded");
            return Err(
                Error::new(Class::Infrastructure, error).hint("run the pipeline again once nothing builds it any more")
            );
        };
        store.put_blob(&bytes)?;
    }
    Ok(())
}

fn bytes_of(source: &PluginSource, root: &Path, digest: Digest) -> Option<Cow<'static, [u8]>> {
    match source {
        PluginSource::Std { name, .. } => {
            EMBEDDED.iter().find(|embedded| embedded.name == name).map(|embedded| embedded.bytes.into())
        }
        PluginSource::App { .. } => None,
        PluginSource::Path { path, .. } => read_component(&root.join(path)).ok().map(Cow::from),
        PluginSource::Oci { .. } => Some(registry::cache().ok()?.find(digest).ok()??.bytes.into()),
    }
}

/// Where the component of a past run may still be: the store; this binary; the file that the pipeline names, if it did not
/// change; what was pulled from registries. What is found outside of the store is put there. None: it is nowhere.
pub fn find(
    store: &Store,
    digest: Digest,
    source: Option<&PluginSource>,
    root: Option<&Path>,
) -> Result<Option<Cow<'static, [u8]>>, StoreError> {
    match store.read_blob(&digest, ComponentLimits::default().size.0) {
        Ok(bytes) => return Ok(Some(bytes.into())),
        // A damaged one may be had elsewhere.
        Err(StoreError::Missing(_) | StoreError::Damaged(_)) => {}
        Err(error) => return Err(error),
    }
    let fits = |bytes: &[u8]| Digest::of(bytes) == digest;
    let embedded = || EMBEDDED.iter().map(|embedded| embedded.bytes).find(|bytes| fits(bytes)).map(Cow::from);
    let file = || match (source, root) {
        (Some(source @ (PluginSource::Path { .. } | PluginSource::Oci { .. })), Some(root)) => {
            bytes_of(source, root, digest).filter(|bytes| fits(bytes))
        }
        _ => None,
    };
    let found = embedded().or_else(file);
    if let Some(bytes) = &found {
        store.put_blob(bytes)?;
    }
    Ok(found)
}

/// What past runs' components are looked for with.
pub struct Shelf<'a> {
    /// The store.
    pub store: &'a Store,
    /// The root that paths of plugins are relative to, where it is known.
    pub root: Option<&'a Path>,
    /// Where the pipeline got its plugins.
    pub sources: &'a BTreeMap<PluginAlias, PluginSource>,
}

impl Shelf<'_> {
    /// The bytes of one component, or the error that names it.
    pub fn bytes(&self, alias: &PluginAlias, component: &Component) -> Result<Cow<'static, [u8]>, Error> {
        let Component { digest, name, .. } = component;
        if let Some(source @ PluginSource::App { .. }) = self.sources.get(alias) {
            let error = anyhow::anyhow!(
                "find `{source}` ({name}): it is a node kind of the program that embeds Lockgate, and no component"
            );
            let hint = "do that with the program which began the run, in the version of then";
            return Err(Error::new(Class::Wrong, error).hint(hint));
        }
        if let Some(bytes) = find(self.store, *digest, self.sources.get(alias), self.root)? {
            return Ok(bytes);
        }
        let error = anyhow::anyhow!(
            "find the component of plugin `{alias}` ({name}): {digest} is neither in the state directory nor in this binary, \
             and no file of the pipeline has this digest"
        );
        Err(Error::new(Class::Infrastructure, error)
            .hint("put the file that the run used back to where the pipeline names it"))
    }

    /// Loads one component.
    pub fn load(
        &self,
        alias: &PluginAlias,
        component: &Component,
        host: &Host,
        cache: &Arc<dyn CodeCache>,
    ) -> Result<Arc<Plugin>, Error> {
        let bytes = self.bytes(alias, component)?;
        // Whether it may lack something was decided when the run began.
        let loaded = host.load_lazily_with(bytes.into_owned().into(), cache.clone(), Missing::Trap);
        loaded.map_err(|error| load::load_failed(&component.name, error))
    }
}
