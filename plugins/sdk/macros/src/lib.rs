//! The `#[config]` attribute. It only puts derives and their paths in front of an item, so it needs no parser crates.

use proc_macro::{TokenStream, TokenTree};

/// Makes a struct or an enum usable as (part of) a plugin's config: derives `Deserialize`, `Serialize` and `JsonSchema` and
/// refuses unknown fields. The names of an enum's cases are written in kebab-case.
///
/// Further `#[serde(...)]` attributes may stand below it; `#[serde(default)]` makes the schema show the defaults.
#[proc_macro_attribute]
pub fn config(arguments: TokenStream, item: TokenStream) -> TokenStream {
    if !arguments.is_empty() {
        return error("`#[config]` takes no arguments");
    }
    let keyword = item.clone().into_iter().find_map(|token| match token {
        TokenTree::Ident(ident) => match ident.to_string().as_str() {
            word @ ("struct" | "enum") => Some(word.to_owned()),
            _ => None,
        },
        _ => None,
    });
    let serde = match keyword.as_deref() {
        Some("struct") => "",
        Some("enum") => ", rename_all = \"kebab-case\"",
        _ => return error("`#[config]` stands in front of a struct or an enum"),
    };
    let attributes = format!(
        "#[derive(::lockgate_sdk::serde::Deserialize, ::lockgate_sdk::serde::Serialize, ::lockgate_sdk::schemars::JsonSchema)]
         #[serde(crate = \"::lockgate_sdk::serde\", deny_unknown_fields{serde})]
         #[schemars(crate = \"::lockgate_sdk::schemars\")]"
    );
    match attributes.parse::<TokenStream>() {
        Ok(mut stream) => {
            stream.extend(item);
            stream
        }
        Err(_) => error("`#[config]` could not be expanded"),
    }
}

fn error(message: &str) -> TokenStream {
    format!("::core::compile_error!({message:?});").parse().unwrap_or_default()
}
