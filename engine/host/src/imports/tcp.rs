//! `tcp`: exchanges over bare connections within grants, each recorded.

use lockgate_model::effect::Begun;
use serde_json::json;
use wasmtime::component::Linker;

use super::http::{may_hold_secrets, place};
use super::{Context, interface};
use crate::bindings::tcp::{Error, Request, Response};
use crate::exchange::tcp::{check, exchange, refuse};
use crate::exchange::{Recorder, answer, bytes_json, idempotency_key, place_key};
use crate::ports::{Asked, AskedTcp};
use crate::schedule::Call;
use crate::state::{State, Stop, begin, charge, charge_bytes};

/// Links it.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut tcp = interface(linker, "tcp")?;
    tcp.func_wrap_async("exchange", |mut store: Context<'_>, (request,): (Request,)| {
        Box::new(async move {
            begin(&mut store, "tcp", Call::Small)?;
            Ok((one(&mut store, request).await?,))
        })
    })
}

async fn one(store: &mut Context<'_>, request: Request) -> Result<Result<Response, Error>, Stop> {
    charge(store, Call::Exchange.fuel())?;
    charge_bytes(store, (request.host.len() + request.send.len()) as u64)?;
    let task = &store.data().task;
    let checked = check(&request, &task.grants.tcp).and_then(|checked| {
        may_hold_secrets(task, &checked.host, checked.port, &checked.send)
            .map_err(|message| refuse("not-granted", message))?;
        Ok(checked)
    });
    store.data().effects.asked(&Asked::Tcp(AskedTcp {
        host: &request.host,
        port: request.port,
        send: &request.send,
        until: request.until.as_deref(),
        max_bytes: checked.as_ref().ok().map(|checked| checked.max as u64),
        effect: checked.as_ref().map(|checked| checked.effect.request).map_err(|refused| refused.code.as_str()),
    }));
    let checked = match checked {
        Ok(checked) => checked,
        Err(refused) => return Ok(Err(refused)),
    };
    let recorder = Recorder::begin(store.data_mut(), 1)?;
    let (artifacts, secrets) = (store.data().artifacts.clone(), store.data().secrets.clone());
    let (answer, record) = match recorder.intent(0, &checked.effect).await? {
        Begun::Answered(record) => {
            let answer = answer::connected(&record, &*artifacts);
            (answer.map_err(|error| recorder.unreadable(0, &error))?, record)
        }
        Begun::Issue => {
            let task = &store.data().task;
            let keyed = place_key(&checked.send, &idempotency_key(task, recorder.sequence(0)));
            let send = place(&secrets, task, &keyed)?;
            let answer = match exchange(&checked, &send).await {
                Ok(mut answer) => {
                    answer.received = secrets.mask_bytes(&answer.received).into_owned();
                    Ok(answer)
                }
                Err(error) => Err(error),
            };
            let record = match &answer {
                Ok(answer) => json!({
                    "received": bytes_json(&*artifacts, &answer.received)?,
                    "ended-by": answer.ended_by,
                    "timings": { "connect-us": answer.connect_us, "total-us": answer.total_us },
                }),
                Err(error) => json!({ "error": { "code": error.code, "message": error.message } }),
            };
            recorder.outcome(0, &record).await?;
            (answer, record)
        }
    };
    let record = recorder.record(0, checked.effect, record);
    store.data_mut().records.push(record);
    charge_bytes(store, answer.as_ref().map_or(0, |answer| answer.received.len() as u64))?;
    Ok(answer)
}
