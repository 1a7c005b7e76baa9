//! `lockgate plan`: what is cached and what would run and why, with which plugins, inputs, grants and limits.

use lockgate::wiring::load::{Loaded, Ready};
use lockgate::wiring::policy::Policies;
use lockgate_model::limits::ComponentLimits;
use lockgate_model::pipeline::OnConflict;
use serde_json::{Value, json};

use super::check::checked;
use super::{Ended, report_problems};
use crate::args::{Format, PlanArgs};
use crate::exit::Exit;
use crate::forecast::{Forecast, forecast};
use crate::part::selection;
use crate::render::decision;
use crate::render::diagnostics::count;
use crate::render::graph::plugin_name;
use crate::render::output::Output;
use crate::render::plan;
use crate::render::style::{Style, clean_line};

/// Prints the plan of a pipeline.
pub(crate) fn plan(args: &PlanArgs, output: &Output) -> Ended {
    let policies = Policies::load(args.policy.policy.as_deref(), output)?;
    let mut loaded = checked(&args.file, &args.lock, &policies, output)?;
    let Some(ready) = loaded.ready() else { return Ok(report_problems(&loaded, output)) };
    let selection = selection(&args.part, &ready.pipeline)?;
    let foreseen = match forecast(&mut loaded, &ready, &args.file, args.logical_time, selection)? {
        Ok(foreseen) => foreseen,
        Err(exit) => {
            report_problems(&loaded, output);
            return Ok(exit);
        }
    };
    match args.format {
        Format::Human => output.data(&human(&loaded, &ready, &foreseen, &policies, output.out)),
        Format::Json => output.data(&(json_plan(&loaded, &ready, &foreseen, &policies).to_string() + "\n")),
    }
    // The plan of what would be refused says so last.
    foreseen.taken()?;
    Ok(Exit::Succeeded)
}

fn human(loaded: &Loaded, ready: &Ready, foreseen: &Forecast, policies: &Policies, style: Style) -> String {
    let pipeline = &ready.pipeline;
    let mut text = format!(
        "{} {}, {}\n",
        style.bold(&clean_line(&pipeline.name)),
        count(ready.graph.len(), "node"),
        style.dim(&pipeline.digest().to_string())
    );
    let mut line =
        |name: &str, value: String| text.push_str(&format!("  {}{value}\n", style.dim(&format!("{name:<10}"))));
    line("root", loaded.root.display().to_string());
    for (file, origin) in policies.with_origins() {
        line("policy", format!("{}: {} ({})", clean_line(&file.policy.name), clean_line(&file.file), origin.name()));
    }
    for (name, value) in &pipeline.params {
        line("param", format!("{name} = {}", clean_line(&value.to_string())));
    }
    if let Some(concurrency) = &pipeline.concurrency {
        let otherwise = match concurrency.on_conflict {
            OnConflict::Queue => "waits for the one under way",
            OnConflict::CancelOlder => "cancels the one under way",
        };
        line("group", format!("{}: one run at a time, a newer one {otherwise}", clean_line(&concurrency.group)));
    }
    for export in &pipeline.exports {
        line("export", format!("{}.{} to {}", export.node, export.output, clean_line(&export.to)));
    }
    if let Some(selection) = &foreseen.spec.selection {
        line("part", format!("{selection}: no run digest"));
    }
    line("cache", foreseen.summary());
    let limits = plan::component_limits(&ComponentLimits::default());
    line("component", limits.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", "));
    for &index in ready.graph.order() {
        let plugin = pipeline.nodes[index].plugin.as_ref().and_then(|alias| loaded.plugins.get(alias));
        text.push('\n');
        let cache = foreseen.text(index);
        let decision = loaded.decision(policies, index);
        let decision = decision.as_ref().map(|decision| (decision, policies.files()));
        text += &plan::node(pipeline, &ready.graph, index, plugin.map(AsRef::as_ref), Some(&cache), decision, style);
    }
    text
}

fn json_plan(loaded: &Loaded, ready: &Ready, foreseen: &Forecast, policies: &Policies) -> Value {
    let pipeline = &ready.pipeline;
    let nodes: Vec<Value> = ready
        .graph
        .order()
        .iter()
        .map(|&index| {
            let node = &pipeline.nodes[index];
            let mut value = json!(node);
            let needs: Vec<Value> = ready
                .graph
                .needs(index)
                .map(|(other, edge)| {
                    let kind = if edge == lockgate_model::graph::Edge::Data { "data" } else { "order" };
                    json!({ "node": pipeline.nodes[other].id, "kind": kind })
                })
                .collect();
            value["needs"] = needs.into();
            value["pure"] = (node.plugin.is_some() && node.grants.is_empty()).into();
            value["cache"] = foreseen.json(index);
            value["source"] = plugin_name(pipeline, node).into();
            if let Some(decision) = loaded.decision(policies, index) {
                value["decision"] = decision::json(&decision);
            }
            if let Some(plugin) = node.plugin.as_ref().and_then(|alias| loaded.plugins.get(alias)) {
                let manifest = plugin.manifest();
                value["component"] =
                    json!({ "digest": plugin.digest(), "name": manifest.name, "version": manifest.version });
            }
            value
        })
        .collect();
    json!({
        "schema": 1,
        "name": pipeline.name,
        "file": loaded.name,
        "root": loaded.root.display().to_string(),
        "digest": pipeline.digest(),
        "determinism": lockgate_host::determinism(),
        "params": pipeline.params,
        "component_limits": ComponentLimits::default(),
        "exports": pipeline.exports,
        "concurrency": pipeline.concurrency,
        "selection": foreseen.spec.selection,
        "policies": policies
            .with_origins()
            .map(|(file, origin)| {
                json!({ "name": file.policy.name, "file": file.file, "origin": origin.name(), "digest": file.digest })
            })
            .collect::<Vec<_>>(),
        "nodes": nodes,
    })
}
