//! The keywords, and the rules that they are.

use std::collections::HashMap;

use serde_json::{Map, Number, Value as Json};

use super::documents::Spot;
use super::pattern;
use super::pending::Pending;
use super::schema::{Count, Node, NodeId, Rule, Types};
use super::subschemas::escaped;

/// A schema whose rules are read.
pub(super) struct Reading<'c, 'd> {
    pub(super) pending: &'c mut Pending<'d>,
    pub(super) members: &'d Map<String, Json>,
    /// Its spot, with its own base.
    pub(super) spot: Spot,
    pub(super) is_draft_7: bool,
}

type Read<T> = Result<Option<T>, String>;

impl Reading<'_, '_> {
    /// Reads all keywords.
    ///
    /// # Errors
    /// Says which is wrong, or not supported.
    pub(super) fn node(mut self) -> Result<Node, String> {
        let mut rules = Vec::new();
        if let Some(reference) = self.text("$ref")? {
            let spot = self.pending.documents.resolve(&self.spot.base, &reference)?;
            rules.push(Rule::Reference(self.pending.id_of(spot)));
            if self.is_draft_7 {
                return Ok(Node { rules, ..Node::default() });
            }
        }
        if let Some(keyword) = ["$dynamicRef", "$recursiveRef"].iter().find(|keyword| self.members.contains_key(**keyword)) {
            return Err(format!("{keyword} is not read; write $ref"));
        }
        self.of_values(&mut rules)?;
        self.of_arrays(&mut rules)?;
        self.of_objects(&mut rules)?;
        self.of_schemas(&mut rules)?;
        // These ask what the others have looked at.
        let before = rules.len();
        rules.extend(self.schema("unevaluatedItems")?.map(Rule::UnevaluatedItems));
        rules.extend(self.schema("unevaluatedProperties")?.map(Rule::UnevaluatedProperties));
        let format = self.members.get("format").and_then(Json::as_str).map(str::to_owned);
        let is_base64 = self.members.get("contentEncoding").and_then(Json::as_str) == Some("base64");
        Ok(Node { place: String::new(), looks_at_rest: rules.len() > before, rules, format, is_base64 })
    }

    fn wrong<T>(&self, keyword: &str, what: &str) -> Result<T, String> {
        Err(format!("{}/{keyword} is not {what}", self.pending.documents.place(&self.spot)))
    }

    fn text(&self, keyword: &str) -> Read<String> {
        match self.members.get(keyword) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text.clone())),
            Some(_) => self.wrong(keyword, "text"),
        }
    }

    fn number(&self, keyword: &str) -> Read<Number> {
        match self.members.get(keyword) {
            None => Ok(None),
            Some(Json::Number(number)) => Ok(Some(number.clone())),
            Some(_) => self.wrong(keyword, "a number"),
        }
    }

    fn size(&self, keyword: &str) -> Read<u64> {
        let Some(number) = self.number(keyword)? else { return Ok(None) };
        let float = || number.as_f64().filter(|float| float.fract() == 0.0 && *float >= 0.0).map(|float| float as u64);
        match number.as_u64().or_else(float) {
            Some(size) => Ok(Some(size)),
            None => self.wrong(keyword, "a number of things"),
        }
    }

    fn texts(&self, keyword: &str, value: &Json) -> Result<Vec<String>, String> {
        let texts = value.as_array().and_then(|all| all.iter().map(|one| one.as_str().map(str::to_owned)).collect());
        texts.map_or_else(|| self.wrong(keyword, "a list of texts"), Ok)
    }

    fn schema_at(&mut self, path: &str) -> NodeId {
        let spot = self.spot.below(&self.spot.base, path);
        self.pending.id_of(spot)
    }

    fn schema(&mut self, keyword: &str) -> Read<NodeId> {
        Ok(self.members.contains_key(keyword).then(|| self.schema_at(keyword)))
    }

    fn list(&mut self, keyword: &str) -> Read<Vec<NodeId>> {
        match self.members.get(keyword) {
            None => Ok(None),
            Some(Json::Array(all)) => {
                let count = all.len();
                Ok(Some((0..count).map(|index| self.schema_at(&format!("{keyword}/{index}"))).collect()))
            }
            Some(_) => self.wrong(keyword, "a list of schemas"),
        }
    }

    /// Schemas by name, in the order of the text.
    fn named(&mut self, keyword: &str) -> Read<Vec<(String, NodeId)>> {
        let names: Vec<String> = match self.members.get(keyword) {
            None => return Ok(None),
            Some(Json::Object(all)) => {
                let order = self.pending.documents.names(&self.spot.below(&self.spot.base, keyword));
                if order.len() == all.len() { order.to_vec() } else { all.keys().cloned().collect() }
            }
            Some(_) => return self.wrong(keyword, "an object of schemas"),
        };
        let of_name = |name: String| {
            let id = self.schema_at(&format!("{keyword}/{}", escaped(&name)));
            (name, id)
        };
        Ok(Some(names.into_iter().map(of_name).collect()))
    }

    fn counts(&self, keywords: [&'static str; 2], rule: fn(Count) -> Rule, rules: &mut Vec<Rule>) -> Result<(), String> {
        for (keyword, is_least) in keywords.into_iter().zip([true, false]) {
            rules.extend(self.size(keyword)?.map(|bound| rule(Count { bound, is_least, keyword })));
        }
        Ok(())
    }

    fn of_values(&mut self, rules: &mut Vec<Rule>) -> Result<(), String> {
        let one = |name: &Json| name.as_str().and_then(Types::of_name);
        match self.members.get("type") {
            None => {}
            Some(Json::Array(all)) => {
                let types = all.iter().map(one).try_fold(Types(0), |types, one| Some(types.with(one?)));
                rules.push(Rule::Type(types.map_or_else(|| self.wrong("type", "a list of types"), Ok)?));
            }
            Some(name) => rules.push(Rule::Type(one(name).map_or_else(|| self.wrong("type", "a type"), Ok)?)),
        }
        match self.members.get("enum") {
            None => {}
            Some(Json::Array(all)) => rules.push(Rule::Enum(all.clone())),
            Some(_) => return self.wrong("enum", "a list of values"),
        }
        rules.extend(self.members.get("const").map(|value| Rule::Const(value.clone())));
        rules.extend(self.number("minimum")?.map(|bound| Rule::Minimum(bound, false)));
        rules.extend(self.number("exclusiveMinimum")?.map(|bound| Rule::Minimum(bound, true)));
        rules.extend(self.number("maximum")?.map(|bound| Rule::Maximum(bound, false)));
        rules.extend(self.number("exclusiveMaximum")?.map(|bound| Rule::Maximum(bound, true)));
        if let Some(of) = self.number("multipleOf")? {
            if !of.as_f64().is_some_and(|of| of > 0.0) {
                return self.wrong("multipleOf", "positive");
            }
            rules.push(Rule::MultipleOf(of));
        }
        self.counts(["minLength", "maxLength"], Rule::Length, rules)?;
        if let Some(text) = self.text("pattern")? {
            rules.push(Rule::Pattern(pattern::compile(&text)?));
        }
        Ok(())
    }

    fn of_arrays(&mut self, rules: &mut Vec<Rule>) -> Result<(), String> {
        self.counts(["minItems", "maxItems"], Rule::Items, rules)?;
        if self.members.get("uniqueItems") == Some(&Json::Bool(true)) {
            rules.push(Rule::UniqueItems);
        }
        let before_2020 = self.members.get("items").is_some_and(Json::is_array);
        let (prefix, keyword) = match before_2020 {
            true => (self.list("items")?, "additionalItems"),
            false => (self.list("prefixItems")?, "items"),
        };
        let rest = self.schema(keyword)?;
        if prefix.is_some() || rest.is_some() {
            rules.push(Rule::Elements { prefix: prefix.unwrap_or_default(), rest, keyword });
        }
        if let Some(schema) = self.schema("contains")? {
            let (least, most) = (self.size("minContains")?, self.size("maxContains")?);
            let (least, most) = if self.is_draft_7 { (None, None) } else { (least, most) };
            rules.push(Rule::Contains { schema, least: least.unwrap_or(1), most, looks: !self.is_draft_7 });
        }
        Ok(())
    }

    fn of_objects(&mut self, rules: &mut Vec<Rule>) -> Result<(), String> {
        self.counts(["minProperties", "maxProperties"], Rule::Members, rules)?;
        if let Some(names) = self.members.get("required") {
            rules.push(Rule::Required(self.texts("required", names)?));
        }
        let named = self.named("properties")?;
        let patterns = self.named("patternProperties")?;
        let rest = self.schema("additionalProperties")?;
        if named.is_some() || patterns.is_some() || rest.is_some() {
            let named = named.unwrap_or_default();
            let by_name: HashMap<String, NodeId> = named.iter().cloned().collect();
            let patterns = patterns.unwrap_or_default().into_iter();
            let patterns = patterns.map(|(text, of)| Ok((pattern::compile(&text)?, of))).collect::<Result<_, String>>()?;
            rules.push(Rule::Properties { named, by_name, patterns, rest });
        }
        rules.extend(self.schema("propertyNames")?.map(Rule::Names));
        let (mut names, mut schemas) = (Vec::new(), self.named("dependentSchemas")?.unwrap_or_default());
        if let Some(Json::Object(all)) = self.members.get("dependentRequired") {
            for (name, required) in all {
                names.push((name.clone(), self.texts("dependentRequired", required)?));
            }
        }
        if let Some(Json::Object(all)) = self.members.get("dependencies") {
            for (name, dependency) in all {
                match dependency {
                    Json::Array(_) => names.push((name.clone(), self.texts("dependencies", dependency)?)),
                    _ => schemas.push((name.clone(), self.schema_at(&format!("dependencies/{}", escaped(name))))),
                }
            }
        }
        rules.extend((!names.is_empty()).then_some(Rule::DependentRequired(names)));
        rules.extend((!schemas.is_empty()).then_some(Rule::DependentSchemas(schemas)));
        Ok(())
    }

    fn of_schemas(&mut self, rules: &mut Vec<Rule>) -> Result<(), String> {
        rules.extend(self.list("allOf")?.map(Rule::AllOf));
        rules.extend(self.list("anyOf")?.map(Rule::AnyOf));
        rules.extend(self.list("oneOf")?.map(Rule::OneOf));
        rules.extend(self.schema("not")?.map(Rule::Not));
        if let Some(condition) = self.schema("if")? {
            rules.push(Rule::If { condition, then: self.schema("then")?, otherwise: self.schema("else")? });
        }
        Ok(())
    }
}
