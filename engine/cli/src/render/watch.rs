//! Watches a run and prints it as it goes on, on a thread of its own: a slow terminal or pipe never holds up the scheduler before the
//! queue is full.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use lockgate_model::event::Event;
use lockgate_model::pipeline::Pipeline;
use lockgate_runner::{Notice, Observer};

use super::github::Github;
use super::human::Human;
use super::json;
use super::output::Output;
use super::report::{Blobs, Ended};
use crate::args::RunFormat;

/// Events that may wait for a slow reader. Beyond, the run waits: an event per line is promised, so none may be dropped.
const QUEUE: usize = 4_096;

enum Said {
    Event(u64, Box<Event>),
    Interrupted,
    End,
}

/// The runner's side: hands events over.
pub(crate) struct Watcher {
    sender: SyncSender<Said>,
    /// Whether only ends of nodes, and what is rare, are of use: plain lines for people say nothing of what begins.
    plain: bool,
}

impl Observer for Watcher {
    fn event(&self, time: u64, event: &Event) {
        let begins =
            matches!(event, Event::AttemptStarted { .. } | Event::EffectIntended { .. } | Event::EffectFinished { .. });
        if self.plain && begins {
            return;
        }
        // The other side is only gone if it panicked; then there is nobody to tell.
        let _ = self.sender.send(Said::Event(time, Box::new(event.clone())));
    }

    fn notice(&self, notice: &Notice) {
        if *notice == Notice::Interrupted {
            let _ = self.sender.send(Said::Interrupted);
        }
    }
}

/// The printing side.
pub(crate) struct Printer<'scope> {
    sender: SyncSender<Said>,
    thread: std::thread::ScopedJoinHandle<'scope, Seen>,
}

/// What was seen of a run.
pub(crate) struct Seen {
    /// Final nodes in the order in which they ended.
    pub(crate) ended: Vec<Ended>,
    /// The run's last event, not yet printed as JSON: exports come before it.
    pub(crate) last: Option<(u64, Event)>,
    /// When the run began and ended, in milliseconds since 1970.
    pub(crate) span: Option<(u64, u64)>,
}

impl<'scope> Printer<'scope> {
    /// Starts to print a run.
    pub(crate) fn start<'env>(
        scope: &'scope std::thread::Scope<'scope, 'env>,
        output: &'env Output,
        format: RunFormat,
        of: json::Line,
        pipeline: &'env Pipeline,
        blobs: &'env (dyn Blobs + Sync),
    ) -> (Self, Watcher) {
        let (sender, receiver) = sync_channel(QUEUE);
        let thread = scope.spawn(move || print(&receiver, output, format, &of, pipeline, blobs));
        let plain = format == RunFormat::Human && !output.live && !output.verbose;
        (Self { sender: sender.clone(), thread }, Watcher { sender, plain })
    }

    /// Prints what is left, and gives what was seen.
    pub(crate) fn end(self) -> Seen {
        let _ = self.sender.send(Said::End);
        drop(self.sender);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn print(
    receiver: &Receiver<Said>,
    output: &Output,
    format: RunFormat,
    of: &json::Line,
    pipeline: &Pipeline,
    blobs: &dyn Blobs,
) -> Seen {
    let mut human = Human::new(output, pipeline);
    let token = format!("{:016x}{:016x}", lockgate_runner::entropy(), lockgate_runner::entropy());
    let github = Github::new(pipeline, blobs, token, output.quiet);
    let mut last = None;
    let mut span: Option<(u64, u64)> = None;
    while let Ok(said) = receiver.recv() {
        match said {
            Said::Event(time, event) => {
                span = Some((span.map_or(time, |(start, _)| start), time));
                match format {
                    RunFormat::Json => {
                        if !matches!(*event, Event::RunFinished { .. }) {
                            output.data(&json::line(of, time, &event, None));
                        }
                        human.keep(&event);
                    }
                    RunFormat::Github => {
                        output.data(&github.text(&of.run, &event));
                        human.keep(&event);
                    }
                    RunFormat::Human => human.event(&of.run, &event),
                }
                if matches!(*event, Event::RunFinished { .. }) {
                    last = Some((time, *event));
                }
            }
            Said::Interrupted => {
                human.close();
                output.note("interrupted: stopping the running nodes; interrupt again to end at once\n");
            }
            Said::End => break,
        }
    }
    human.close();
    Seen { ended: human.ended, last, span }
}
