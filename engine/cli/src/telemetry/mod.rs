//! Traces of a run by OpenTelemetry's protocol, if the environment asks for them. In reading order:
//!
//! - [`config`] — the variables
//! - [`context`] — ids, and `traceparent`
//! - [`span`], [`words`], [`fold`] — from events to spans: a pure function of the pipeline and the run's records
//! - [`message`], [`otlp`], [`client`], [`export`] — from spans to the collector
//!
//! Nothing of it reaches a receipt, a digest or the journal, and without the variables nothing of it is set up.

mod client;
mod config;
mod context;
mod export;
mod fold;
mod message;
mod otlp;
mod span;
mod words;

use std::sync::{Arc, Mutex, PoisonError};

use lockgate::wiring::executor;
use lockgate_model::event::Event;
use lockgate_model::pipeline::Pipeline;
use lockgate_model::{NodeId, RunId};
use lockgate_runner::{Notice, Observer};
use tokio::runtime::Runtime;

use self::config::Config;
use self::context::Ids;
use self::export::{Exporter, Queue};
use self::fold::Fold;

pub(crate) use self::context::{TraceId, TraceParent};

/// The port of collectors for gRPC, which people take by mistake.
const GRPC_PORT: u16 = 4_317;

/// The trace that a run belongs to, as far as whoever makes requests needs to know.
#[derive(Debug, Clone)]
pub(crate) enum Trace {
    /// Its spans are made here.
    Own(Ids),
    /// No spans are made here; who asked for the run is passed on as it is.
    Passed(TraceParent),
}

impl Trace {
    /// The trace's id.
    pub(crate) const fn id(&self) -> TraceId {
        match self {
            Self::Own(ids) => ids.trace,
            Self::Passed(parent) => parent.trace,
        }
    }

    /// [`Trace::parent_of_effect`], for whoever makes effects.
    pub(crate) fn parents(&self) -> executor::TraceParent {
        let trace = self.clone();
        std::sync::Arc::new(move |node: &NodeId, attempt, sequence| trace.parent_of_effect(node, attempt, sequence))
    }

    /// What the effect of this number tells whom it asks: the text of a `traceparent` header.
    pub(crate) fn parent_of_effect(&self, node: &NodeId, attempt: u32, sequence: u64) -> String {
        match self {
            Self::Own(ids) => ids.parent_of(ids.effect(node, attempt, sequence)).to_string(),
            Self::Passed(parent) => parent.to_string(),
        }
    }
}

/// Tracing of one run.
pub(crate) struct Telemetry {
    trace: Option<Trace>,
    /// What could not be done as the environment asked for it.
    problems: Vec<String>,
    export: Option<Live>,
}

/// Spans are made and delivered.
struct Live {
    exporter: Exporter,
    fold: Arc<Mutex<Fold>>,
    /// Where they go, for messages.
    place: String,
    hint: &'static str,
}

impl Telemetry {
    /// Tracing as the environment asks for it: of a run that is about to start, or to go on after these records. What they ended
    /// was delivered by whoever saw them.
    pub(crate) fn start<'a>(
        runtime: &Runtime,
        run: &RunId,
        pipeline: &Pipeline,
        past: impl IntoIterator<Item = (u64, &'a Event)>,
    ) -> Self {
        let Config { parent, export, problems } = Config::from_env();
        let Some(export) = export else {
            return Self { trace: parent.map(Trace::Passed), problems, export: None };
        };
        let ids = Ids::new(run, parent);
        let resource = export.resource(vec![
            ("service.name", "lockgate".to_owned()),
            ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("telemetry.sdk.name", "lockgate".to_owned()),
            ("telemetry.sdk.language", "rust".to_owned()),
            ("telemetry.sdk.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("cicd.pipeline.name", pipeline.name.clone()),
            ("cicd.pipeline.run.id", run.as_str().to_owned()),
        ]);
        let hint = match export.url.port() {
            Some(GRPC_PORT) => "; port 4317 is usually that of grpc, http/protobuf has 4318",
            _ => "",
        };
        let place = export.url.as_str().split('?').next().unwrap_or_default().to_owned();
        let mut fold = Fold::new(ids.clone(), pipeline);
        past.into_iter().for_each(|(time, event)| drop(fold.apply(time, event)));
        let fold = Arc::new(Mutex::new(fold));
        let exporter = Exporter::start(runtime, export, resource, ids.clone());
        Self { trace: Some(Trace::Own(ids)), problems, export: Some(Live { exporter, fold, place, hint }) }
    }

    /// The trace that the run belongs to, if there is one.
    pub(crate) const fn trace(&self) -> Option<&Trace> {
        self.trace.as_ref()
    }

    /// What could not be done as the environment asked for it, one line each.
    pub(crate) fn problems(&self) -> &[String] {
        &self.problems
    }

    /// An observer that traces what it sees and hands it on; the same one where nothing is traced.
    pub(crate) fn observe(&self, next: Arc<dyn Observer>) -> Arc<dyn Observer> {
        match &self.export {
            Some(live) => Arc::new(Traced { fold: live.fold.clone(), queue: live.exporter.queue(), next }),
            None => next,
        }
    }

    /// Ends tracing, within a bounded time; gives the line that says what was lost. The observers are gone by now.
    pub(crate) fn finish(self, runtime: &Runtime) -> Option<String> {
        let Live { exporter, fold, place, hint } = self.export?;
        let queue = exporter.queue();
        // Where the run ended as it should, nothing is open any longer.
        for span in lock(&fold).abandon() {
            queue.push(span);
        }
        drop(queue);
        let lost = exporter.finish(runtime)?;
        Some(format!("{} of {} spans were not delivered to {place}: {}{hint}", lost.spans, lost.of, lost.why))
    }
}

fn lock(fold: &Mutex<Fold>) -> std::sync::MutexGuard<'_, Fold> {
    // Spans of a fold that panicked half-way may be missing; they decide nothing.
    fold.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An observer that makes spans of what it sees.
struct Traced {
    fold: Arc<Mutex<Fold>>,
    queue: Queue,
    next: Arc<dyn Observer>,
}

impl Observer for Traced {
    fn event(&self, time: u64, event: &Event) {
        for span in lock(&self.fold).apply(time, event) {
            self.queue.push(span);
        }
        self.next.event(time, event);
    }

    fn notice(&self, notice: &Notice) {
        self.next.notice(notice);
    }
}
