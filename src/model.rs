//! An authorization model, as the server tells it: what is not known here is copied too.

use serde_json::{Map, Value};

/// An authorization model of a store.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// A ULID, which the server has made. The same model has another one in another store.
    pub id: String,
    /// All that it says besides.
    pub content: Map<String, Value>,
}

/// What came of copying a model into a target store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedModel {
    /// The source's.
    pub source_id: String,
    /// The target's; `None` where a dry run has not written it.
    pub target_id: Option<String>,
    /// Whether it was written. Else the target's newest was the same.
    pub is_written: bool,
}

/// The maps of a model (`OpenFGA` v1.22.1). One that is empty says nothing; other empty objects do, such as `this` and `wildcard`.
const MAPS: [&str; 3] = ["relations", "conditions", "parameters"];

impl Model {
    /// Whether two models say the same, whatever their ids are. A server may write out what is not set, or leave it away, as gateways do.
    pub fn is_same(&self, other: &Self) -> bool {
        without_unset(&self.content) == without_unset(&other.content)
    }
}

fn without_unset(fields: &Map<String, Value>) -> Map<String, Value> {
    let said = fields.iter().map(|(name, value)| (name, said(value)));
    let set = said.filter(|(name, value)| !is_unset(name, value));
    set.map(|(name, value)| (name.clone(), value)).collect()
}

fn said(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(without_unset(fields)),
        Value::Array(values) => values.iter().map(said).collect(),
        _ => value.clone(),
    }
}

fn is_unset(name: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.is_empty() && MAPS.contains(&name),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn model(id: &str, content: &Value) -> Model {
        Model {
            id: id.to_owned(),
            content: content.as_object().unwrap().clone(),
        }
    }

    fn is_same(one: &Value, other: &Value) -> bool {
        model("A", one).is_same(&model("B", other))
    }

    #[test]
    fn what_is_not_set_may_be_written_out_or_left_away() {
        let short = json!({ "schema_version": "1.1", "type_definitions": [
            { "type": "user" },
            { "type": "doc", "relations": { "viewer": { "this": {} } }, "metadata": { "relations": {
                "viewer": { "directly_related_user_types": [{ "type": "user", "wildcard": {} }] },
            } } },
        ] });
        let long = json!({ "schema_version": "1.1", "conditions": {}, "type_definitions": [
            { "type": "user", "relations": {}, "metadata": null },
            { "type": "doc", "relations": { "viewer": { "this": {} } }, "metadata": { "module": "", "source_info": null, "relations": {
                "viewer": { "module": "", "source_info": null, "directly_related_user_types": [
                    { "type": "user", "condition": "", "wildcard": {} },
                ] },
            } } },
        ] });
        assert!(is_same(&short, &long));
    }

    #[test]
    fn what_is_set_makes_a_difference() {
        let relation = |rewrite: Value, user: Value| {
            json!({ "type_definitions": [{ "type": "doc", "relations": { "viewer": rewrite }, "metadata": { "relations": {
                "viewer": { "directly_related_user_types": [user] },
            } } }] })
        };
        let this = || json!({ "this": {} });
        let model = relation(this(), json!({ "type": "user" }));
        for other in [
            relation(this(), json!({ "type": "user", "wildcard": {} })),
            relation(this(), json!({ "type": "user", "condition": "c" })),
            relation(this(), json!({ "type": "user", "new": {} })),
            relation(this(), json!({ "type": "user", "new": false })),
            relation(json!({}), json!({ "type": "user" })),
        ] {
            assert!(!is_same(&model, &other), "{other}");
        }
    }
}
