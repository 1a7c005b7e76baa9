//! What a guest can call: one module per interface of the contract, linked by hand. [`sync`] wraps each function, so that
//! none can be called too early, for free, or without giving way to other nodes now and then.
//!
//! To add a function: write it into `wit/`, implement it in the module of its interface as a function of the store and its
//! parameters, link it there with a cost of [`crate::schedule`], charge the bytes that it moves, and test its limits.

pub(crate) mod blobs;
pub(crate) mod clock;
pub(crate) mod http;
pub(crate) mod process;
pub(crate) mod secrets;
pub(crate) mod small;
pub(crate) mod tcp;
pub(crate) mod trees;

use lockgate_model::artifact::ArtifactKind;
use lockgate_model::grant::Grants;
use lockgate_model::{Digest, PortName};
use wasmtime::component::{
    ComponentNamedList, Lift, Linker, LinkerInstance, Lower, Resource, ResourceTableError, ResourceType,
};
use wasmtime::{Engine, StoreContextMut};

use crate::bindings::artifacts::Error;
use crate::contract::{PACKAGE, VERSION};
use crate::schedule::Call;
use crate::state::{Output, State, Stop, begin, should_yield};
use crate::turns::give_way;

/// Most outputs of a node whose manifest leaves their names open: each stands in the receipt and in the journal by name, and a tree
/// has room for any number of files.
pub(crate) const MAX_OUTPUTS: usize = 1_000;

/// The store as host functions see it.
pub(crate) type Context<'a> = StoreContextMut<'a, State>;
/// What functions of `artifacts` answer: the inner error is the guest's to handle, the outer ends the call.
pub(crate) type Answer<T> = Result<Result<T, Error>, Stop>;

/// The kinds of effects whose interfaces a node has, because they were granted, or because its plugin can do without and is to hear that.
/// `clock` is not among them: its interface is there without a grant, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kinds(u8);

impl Kinds {
    const HTTP: u8 = 1;
    const TCP: u8 = 2;
    const PROCESS: u8 = 4;
    const SECRETS: u8 = 8;
    /// How many sets of kinds there are.
    pub(crate) const SETS: usize = 16;
    /// All of them: for checking what a component imports.
    pub(crate) const ALL: Self = Self(15);

    pub(crate) fn of(grants: &Grants) -> Self {
        let kinds = [
            (Self::HTTP, !grants.http.is_empty()),
            (Self::TCP, !grants.tcp.is_empty()),
            (Self::PROCESS, !grants.process.is_empty()),
            (Self::SECRETS, !grants.secrets.is_empty()),
        ];
        Self(kinds.into_iter().filter(|(_, granted)| *granted).map(|(kind, _)| kind).sum())
    }

    /// These and those with the names.
    pub(crate) fn and(self, names: &[String]) -> Self {
        let named = names.iter().map(|name| match name.as_str() {
            "http" => Self::HTTP,
            "tcp" => Self::TCP,
            "process" => Self::PROCESS,
            "secrets" => Self::SECRETS,
            _ => 0,
        });
        Self(named.fold(self.0, |kinds, kind| kinds | kind))
    }

    /// Its number, below [`Kinds::SETS`].
    pub(crate) fn index(self) -> usize {
        self.0.into()
    }

    /// Whether `http` is among them.
    pub(crate) fn has_http(self) -> bool {
        self.has(Self::HTTP)
    }

    fn has(self, kind: u8) -> bool {
        self.0 & kind != 0
    }
}

/// Everything that a node with these kinds of effects may have. Other kinds are not in it.
pub(crate) fn linker(engine: &Engine, kinds: Kinds) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    small::link(&mut linker)?;
    blobs::link(&mut linker)?;
    clock::link(&mut linker)?;
    crate::wasi::link(&mut linker, kinds.has(Kinds::HTTP))?;
    if kinds.has(Kinds::HTTP) {
        http::link(&mut linker)?;
    }
    if kinds.has(Kinds::TCP) {
        tcp::link(&mut linker)?;
    }
    if kinds.has(Kinds::PROCESS) {
        process::link(&mut linker)?;
    }
    if kinds.has(Kinds::SECRETS) {
        secrets::link(&mut linker)?;
    }
    Ok(linker)
}

/// The instance of an interface of the contract.
pub(crate) fn interface<'a>(linker: &'a mut Linker<State>, name: &str) -> wasmtime::Result<LinkerInstance<'a, State>> {
    linker.instance(&format!("{PACKAGE}{name}{VERSION}"))
}

/// Links a function that does not wait.
pub(crate) fn sync<P, R, F>(
    instance: &mut LinkerInstance<'_, State>,
    name: &'static str,
    call: Call,
    f: F,
) -> wasmtime::Result<()>
where
    P: ComponentNamedList + Lift + Send + 'static,
    R: Lower + Send + 'static,
    (R,): ComponentNamedList + Lower,
    F: Fn(&mut Context<'_>, P) -> Result<R, Stop> + Copy + Send + Sync + 'static,
{
    instance.func_wrap_async(name, move |mut store: Context<'_>, params: P| {
        Box::new(async move {
            begin(&mut store, name, call)?;
            let result = f(&mut store, params)?;
            if should_yield(&mut store) {
                give_way().await;
            }
            Ok((result,))
        })
    })
}

/// Links a resource type; `dropped` sees what the guest dropped.
pub(crate) fn resource<T: Send + 'static>(
    instance: &mut LinkerInstance<'_, State>,
    name: &str,
    dropped: impl Fn(&mut State, T) + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    instance.resource(name, ResourceType::host::<T>(), move |mut store, handle| {
        let state: &mut State = store.data_mut();
        let value = state.table.delete(Resource::<T>::new_own(handle)).map_err(broken_handle)?;
        dropped(state, value);
        Ok(())
    })
}

/// Puts a resource into the table, within the limit of handles.
pub(crate) fn push<T: Send + 'static>(state: &mut State, value: T) -> Result<Resource<T>, Stop> {
    let limit = state.limits().handles;
    state.table.push(value).map_err(|_| {
        Stop::limit(format_args!("it holds more than {limit} readers, writers and trees at once"), "handles")
    })
}

/// A handle that names nothing: wasmtime checks the guest's handles, so this is a fault of the host.
#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
pub(crate) fn broken_handle(error: ResourceTableError) -> Stop {
    Stop::Infrastructure(format!("failed to find a resource of the guest: {error}"))
}

/// An error for the guest.
pub(crate) fn error(code: &str, message: impl Into<String>) -> Error {
    Error { code: code.to_owned(), message: message.into() }
}

/// The input of this name, if it is of this kind.
pub(crate) fn input(state: &State, name: &str, kind: ArtifactKind) -> Result<(Digest, u64), Error> {
    let Some(input) = state.task.inputs.get(name) else {
        return Err(error("no-such-input", format!("there is no input `{}`", short(name))));
    };
    if input.kind != kind {
        let message = format!("the input `{}` is a {}, not a {}", short(name), input.kind.name(), kind.name());
        return Err(error("wrong-kind", message));
    }
    Ok((input.digest, input.size))
}

/// Takes the name of an output for a new artifact of this kind. An output that is not declared, or of another kind than
/// declared, is a breach of the contract, whatever the guest makes of the error.
pub(crate) fn claim_output(state: &mut State, name: &str, kind: ArtifactKind) -> Result<PortName, Error> {
    let declared = state.outputs_declared.kind(name);
    let port = PortName::new(name).ok();
    let (Some(declared), Some(port)) = (declared, port) else {
        let message = format!("it writes the output `{}`, which its manifest does not declare", short(name));
        state.breach(message.clone());
        return Err(error("no-such-output", message));
    };
    if !declared.takes(kind) {
        let message = format!(
            "it writes the output `{port}` as a {}, which its manifest declares as a {}",
            kind.name(),
            declared.name()
        );
        state.breach(message.clone());
        return Err(error("wrong-kind", message));
    }
    if state.outputs.contains_key(&port) {
        return Err(error("duplicate", format!("the output `{port}` was begun already")));
    }
    if state.outputs.len() >= MAX_OUTPUTS {
        let message = format!("it writes more than {MAX_OUTPUTS} outputs; what belongs together can be one tree");
        state.breach(message.clone());
        return Err(error("limit", message));
    }
    state.outputs.insert(port.clone(), Output::Open);
    Ok(port)
}

/// A name or path of the guest, cut for messages.
pub(crate) fn short(text: &str) -> String {
    text.chars().take(200).collect()
}
