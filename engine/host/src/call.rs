//! One call of a plugin: a fresh store, a start budget, the exported function under its own budget, and an end that is always
//! a [`Completion`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use lockgate_model::artifact::ArtifactKind;
use lockgate_model::command::CommandConfig;
use lockgate_model::limits::MAX_HOST_CALL;
use lockgate_model::manifest::World;
use lockgate_model::observation::{MAX_OBSERVATION, Observation};
use lockgate_model::outcome::{Completion, FailureKind};
use lockgate_model::task::{Look, Task};
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, InstancePre, Lift, Lower};
use wasmtime::{AsContextMut as _, Store};

use crate::bindings::{Health, evaluation, types};
use crate::host::Host;
use crate::load::{Code, Plugin};
use crate::outcome::{Ended, Phase, Returned, complete, failure, of_error};
use crate::ports::{Artifacts, Effects};
use crate::profile::{self, Profile, Profiler};
use crate::schedule::YIELD_INTERVAL;
use crate::state::{State, Stop};
use crate::wasi;

/// Handles that wasmtime counts besides ours: borrowed ones, and those of resources that components pass among themselves.
const OTHER_HANDLES: usize = 1_000;

/// What the exported function gets.
struct Arguments {
    /// Of a command.
    command: CommandConfig,
    config: String,
    look: Look,
    observation: Option<evaluation::Observation>,
    state: Option<Vec<u8>>,
}

impl Host {
    /// Runs a plugin once for a task. Waits for a free slot first; the task's timeout begins after that.
    ///
    /// Never fails otherwise than by the completion's `failure`, and never panics. Dropping the future stops the guest; what it
    /// did not finish leaves nothing behind.
    pub async fn call(
        &self,
        plugin: &Plugin,
        task: Task,
        artifacts: Arc<dyn Artifacts>,
        effects: Arc<dyn Effects>,
    ) -> Completion {
        self.guarded(plugin, task, artifacts, effects, None).await.0
    }

    /// The same, which also finds out where the fuel goes, looking about each `interval` units of it. The completion is that of
    /// [`Host::call`], its fuel too. None if the host is not for profiles, or nothing was called.
    ///
    /// Must not be called again before it ended.
    pub async fn profile(
        &self,
        plugin: &Plugin,
        task: Task,
        artifacts: Arc<dyn Artifacts>,
        effects: Arc<dyn Effects>,
        interval: u64,
    ) -> (Completion, Option<Profile>) {
        let profiler = self.is_profiling().then(|| Profiler::new(interval));
        self.guarded(plugin, task, artifacts, effects, profiler).await
    }

    async fn guarded(
        &self,
        plugin: &Plugin,
        task: Task,
        artifacts: Arc<dyn Artifacts>,
        effects: Arc<dyn Effects>,
        profiler: Option<Profiler>,
    ) -> (Completion, Option<Profile>) {
        let profiled = profiler.is_some();
        let mut call = pin!(self.run(plugin, task, artifacts, effects, profiler));
        // A panic would be a fault of the engine; it ends this node, not the run of all the others.
        std::future::poll_fn(move |context| {
            let polled = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context))).unwrap_or_else(|_| {
                let message = "the engine failed in a host call; please report it";
                Poll::Ready((Completion::failed(FailureKind::Infrastructure, message), None))
            });
            if profiled && polled.is_pending() {
                // It is suspended, and calls back where it goes on.
                self.engine.increment_epoch();
            }
            polled
        })
        .await
    }

    async fn run(
        &self,
        plugin: &Plugin,
        mut task: Task,
        artifacts: Arc<dyn Artifacts>,
        effects: Arc<dyn Effects>,
        profiler: Option<Profiler>,
    ) -> (Completion, Option<Profile>) {
        let failed = |kind, message: String| (Completion::failed(kind, message), None);
        if task.component != plugin.digest() || !task.world.takes(plugin.world()) {
            return failed(FailureKind::Infrastructure, "the task is for another component or world".into());
        }
        if let Some(import) = plugin.lacks(&task.grants) {
            let next = match import.kind() {
                Some(kind) => format!("the node does not grant; grant it with `grants.{kind}`"),
                None => "is not offered".to_owned(),
            };
            return failed(FailureKind::Contract, format!("it imports `{}`, which {next}", import.name));
        }
        let arguments = match arguments(&mut task, plugin.world(), &*artifacts) {
            Ok(arguments) => arguments,
            Err(completion) => return (*completion, None),
        };
        let code = match plugin.code(self) {
            Ok(code) => code,
            Err(error) => {
                return failed(FailureKind::Infrastructure, format!("failed to load its code: {error}"));
            }
        };
        let linked = match code.linked(self, plugin.kinds(&task.grants)) {
            Ok(linked) => linked,
            Err(error) => {
                return failed(FailureKind::Infrastructure, format!("failed to link it: {error:#}"));
            }
        };
        let run = task.run.clone();
        let _slot = self.slots.one(&run).await;

        let timeout = Duration::from_millis(task.limits.timeout.0);
        let mut state = State::new(task, plugin.outputs.clone(), artifacts, effects);
        state.launcher.clone_from(&self.launcher);
        state.profiler = profiler.map(Box::new);
        let mut store = Store::new(&self.engine, state);
        let work = self.turns.taking(&run, execute(&mut store, linked, code, plugin.world(), arguments));
        let ended = match tokio::time::timeout(timeout, work).await {
            Ok(ended) => ended,
            Err(_) => {
                let limit = store.data().limits().timeout;
                let message =
                    format!("it did not end within {limit}; raise `limits.timeout` of the node if it is right");
                Ended { result: Err((failure(FailureKind::Timeout, message), None)), fuel_left: None }
            }
        };
        let mut state = store.into_data();
        let memory = state.usage.memory();
        let profile = state.profiler.take().map(|profiler| profiler.finish(ended.fuel_left, memory));
        (complete(state, ended), profile)
    }
}

/// Instantiates under the start budget, calls under the call's.
async fn execute(
    store: &mut Store<State>,
    linked: &InstancePre<State>,
    code: &Code,
    world: World,
    arguments: Arguments,
) -> Ended {
    let mut phase = Phase::Start;
    let result = enter(store, linked, code, world, arguments, &mut phase).await;
    let fuel_left = result.is_ok().then(|| store.get_fuel().unwrap_or_default());
    Ended { result: result.map_err(|error| of_error(&error, phase, store.data().limits())), fuel_left }
}

async fn enter(
    store: &mut Store<State>,
    linked: &InstancePre<State>,
    code: &Code,
    world: World,
    arguments: Arguments,
    phase: &mut Phase,
) -> wasmtime::Result<Returned> {
    let limits = store.data().limits();
    let (start_fuel, fuel) = (limits.start_fuel.0, limits.fuel.0);
    let handles = usize::try_from(limits.handles).unwrap_or(usize::MAX);
    store.limiter(|state| &mut state.usage);
    // 16 MiB, so it fits.
    store.set_hostcall_fuel(MAX_HOST_CALL as usize);
    store.set_max_component_handles(handles.saturating_mul(2).saturating_add(OTHER_HANDLES));
    store.set_fuel(start_fuel)?;
    store.fuel_async_yield_interval(Some(YIELD_INTERVAL))?;
    // Nobody may end it by an engine's epoch, which only profiles raise.
    store.set_epoch_deadline(u64::MAX >> 1);
    let instance = linked.instantiate_async(&mut *store).await?;

    let call = Call { instance, entry: code.entry };
    *phase = Phase::Call;
    store.set_fuel(fuel)?;
    profile::begin(store, fuel)?;
    store.data_mut().running = true;
    let Arguments { command, config, look, observation, state } = arguments;
    let look = types::Look { index: look.index, elapsed_ms: look.elapsed, step: look.step };
    Ok(match world {
        World::Stage => {
            let result: Result<Vec<types::Finding>, _> = call.call(store, (config.as_str(),)).await?;
            result.map_or_else(Returned::Refused, Returned::Stage)
        }
        World::HealthCheck => {
            let result: Result<Health, _> = call.call(store, (config.as_str(), look)).await?;
            result.map_or_else(Returned::Refused, Returned::Health)
        }
        World::Command => {
            let state = store.data_mut();
            state.wasi.command = Some(command);
            wasi::mount(state)?;
            Returned::Command(call.run(store).await?)
        }
        World::CanaryEvaluator => {
            let observation = observation.unwrap_or(evaluation::Observation { samples: Vec::new() });
            let result: Result<evaluation::Verdict, _> =
                call.call(store, (config.as_str(), observation, look, state)).await?;
            result.map_or_else(Returned::Refused, Returned::Canary)
        }
    })
}

/// The world's function of one instance.
struct Call {
    instance: wasmtime::component::Instance,
    entry: ComponentExportIndex,
}

impl Call {
    async fn call<P, R>(&self, store: &mut Store<State>, params: P) -> wasmtime::Result<Result<R, types::Failure>>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: Lift + Lower + Send + Sync + 'static,
    {
        let function = self.instance.get_typed_func::<P, (Result<R, types::Failure>,)>(&mut *store, self.entry)?;
        let (result,) = function.call_async(&mut *store, params).await?;
        Ok(result)
    }
}

impl Call {
    /// Runs a command and takes what it made; its exit code. Ending by `exit` is as good as returning: what it does is a host call, so the fuel
    /// is counted exactly.
    async fn run(&self, store: &mut Store<State>) -> wasmtime::Result<u8> {
        let function = self.instance.get_typed_func::<(), (Result<(), ()>,)>(&mut *store, self.entry)?;
        let code = match function.call_async(&mut *store, ()).await {
            Ok((result,)) => u8::from(result.is_err()),
            Err(error) => match error.downcast_ref::<Stop>() {
                Some(Stop::Exit(code)) => *code,
                _ => return Err(error),
            },
        };
        if code == 0 {
            wasi::collect(&mut store.as_context_mut())?;
        }
        Ok(code)
    }
}

/// Takes the arguments out of a task. A canary evaluator without a readable observation breaks the contract.
fn arguments(task: &mut Task, world: World, artifacts: &dyn Artifacts) -> Result<Arguments, Box<Completion>> {
    let observation = match world {
        World::CanaryEvaluator => Some(observation(task, artifacts)?),
        World::Stage | World::HealthCheck | World::Command => None,
    };
    let command = match world {
        World::Command => {
            let config = serde_json::from_str(&task.config).map_err(|error| error.to_string());
            let command = config.and_then(|config| CommandConfig::read(&config));
            command.map_err(|wrong| {
                let message = format!("its config is none of a command: {wrong}");
                Box::new(Completion::failed(FailureKind::Contract, message))
            })?
        }
        World::Stage | World::HealthCheck | World::CanaryEvaluator => CommandConfig::default(),
    };
    // The config stays in the task, too: random numbers depend on it.
    let config = task.config.clone();
    Ok(Arguments { command, config, look: task.look, observation, state: task.state.take() })
}

fn observation(task: &Task, artifacts: &dyn Artifacts) -> Result<evaluation::Observation, Box<Completion>> {
    let contract = |message: String| Box::new(Completion::failed(FailureKind::Contract, message));
    let Some(input) = task.inputs.get("observation") else {
        return Err(contract("it needs an input named `observation`".into()));
    };
    if input.kind != ArtifactKind::Blob || input.size > MAX_OBSERVATION {
        return Err(contract(format!("its input `observation` is not a blob of at most {MAX_OBSERVATION} bytes")));
    }
    let read = || -> std::io::Result<Vec<u8>> {
        let (mut source, size) = artifacts.open_blob(input.digest)?;
        let mut bytes = Vec::with_capacity(usize::try_from(size.min(MAX_OBSERVATION)).unwrap_or_default());
        std::io::Read::read_to_end(&mut std::io::Read::take(&mut source, MAX_OBSERVATION + 1), &mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| {
        Box::new(Completion::failed(
            FailureKind::Infrastructure,
            Stop::artifacts("read the observation", &error).to_string(),
        ))
    })?;
    let observation = Observation::from_json(&bytes).map_err(|error| {
        let cause = std::error::Error::source(&error).map_or(String::new(), |cause| format!(": {cause}"));
        contract(format!("its input `observation` is none: failed to {error}{cause}"))
    })?;
    Ok(typed(observation))
}

/// An observation as the contract has it.
fn typed(observation: Observation) -> evaluation::Observation {
    let sample = |sample: lockgate_model::observation::Sample| evaluation::Sample {
        metric: sample.metric,
        side: sample.side,
        unit: sample.unit,
        points: sample.points.into_iter().map(|point| evaluation::Point { time_ms: point.t, value: point.v }).collect(),
        counts: sample.counts.into_iter().map(|(class, number)| evaluation::Count { class, number }).collect(),
        buckets: sample
            .buckets
            .into_iter()
            .map(|bucket| evaluation::Bucket { upper: bucket.le, number: bucket.n })
            .collect(),
    };
    evaluation::Observation { samples: observation.samples.into_iter().map(sample).collect() }
}
