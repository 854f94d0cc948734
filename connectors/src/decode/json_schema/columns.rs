//! The columns of a schema: one for each property that it names, also in the schemas that it puts together. Where it allows one of several
//! schemas, as for kinds of events, there is a column for each property of each of them. What has no type as a column is JSON text, and a
//! note says why.

use arrow::datatypes::{DataType, Field, TimeUnit};
use serde_json::{Number, Value as Json};

use super::number::{digits_of_step, is_integer};
use super::schema::{NodeId, Rule, Schema, Types};
use crate::decode::derived::{Derived, Deriving, Entered, column_name, list_of, map_of, struct_of};
use crate::decode::schema_file::no_field;

/// The digits of a DECIMAL that `multipleOf` asks for.
const PRECISION: u8 = 18;
/// The most digits behind the point.
const MAX_SCALE: u32 = 9;

/// What a schema says of a value.
struct Facts {
    types: Types,
    /// Each property with the schemas that it may be of.
    named: Vec<(String, Vec<NodeId>)>,
    required: Vec<String>,
    /// The schema of members that are not named.
    rest: Option<NodeId>,
    /// The schema of all elements.
    elements: Option<NodeId>,
    format: Option<String>,
    is_base64: bool,
    step: Option<Number>,
}

impl Facts {
    fn nothing() -> Facts {
        Facts {
            types: Types::ALL,
            named: Vec::new(),
            required: Vec::new(),
            rest: None,
            elements: None,
            format: None,
            is_base64: false,
            step: None,
        }
    }

    fn name(&mut self, name: &str, nodes: &[NodeId]) {
        match self.named.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => known.extend(nodes.iter().copied().filter(|node| !known.contains(node)).collect::<Vec<_>>()),
            None => self.named.push((name.to_owned(), nodes.to_vec())),
        }
    }

    /// Adds what other facts say, which hold too.
    fn and(&mut self, other: Facts) {
        self.types = self.types.and(other.types);
        self.required.extend(other.required);
        self.add(other.named, other.rest, other.elements);
        self.format = self.format.take().or(other.format);
        self.is_base64 |= other.is_base64;
        self.step = self.step.take().or(other.step);
    }

    /// Adds what facts say of which one holds.
    fn any(&mut self, branches: Vec<Facts>) {
        let types = branches.iter().fold(Types(0), |types, branch| types.with(branch.types));
        self.types = self.types.and(types);
        let mut branches: Vec<Facts> = branches.into_iter().filter(|branch| branch.types != Types::NULL).collect();
        if let [_] = branches.as_slice() {
            // One that may be null.
            branches.truncate(1);
            for branch in branches {
                self.and(Facts { types: Types::ALL, ..branch });
            }
            return;
        }
        let everywhere = |name: &String| branches.iter().all(|branch| branch.required.contains(name));
        let required = branches.first().map_or_else(Vec::new, |branch| branch.required.clone());
        self.required.extend(required.into_iter().filter(everywhere));
        if let Some(first) = branches.first()
            && branches.iter().all(|branch| (&branch.format, branch.is_base64) == (&first.format, first.is_base64))
        {
            self.format = self.format.take().or_else(|| first.format.clone());
            self.is_base64 |= first.is_base64;
        }
        for branch in branches {
            self.add(branch.named, branch.rest, branch.elements);
        }
    }

    fn add(&mut self, named: Vec<(String, Vec<NodeId>)>, rest: Option<NodeId>, elements: Option<NodeId>) {
        named.iter().for_each(|(name, nodes)| self.name(name, nodes));
        self.rest = self.rest.or(rest);
        self.elements = self.elements.or(elements);
    }

    fn is_required(&self, name: &str) -> bool {
        self.required.iter().any(|required| required == name)
    }
}

/// Returns what a node says of its values.
fn facts(schema: &Schema, id: NodeId) -> Facts {
    let node = schema.node(id);
    let mut found = Facts { format: node.format.clone(), is_base64: node.is_base64, ..Facts::nothing() };
    for rule in &node.rules {
        match rule {
            Rule::Type(types) => found.types = found.types.and(*types),
            Rule::Enum(values) => found.types = found.types.and(of_values(values)),
            Rule::Const(value) => found.types = found.types.and(of_values(std::slice::from_ref(value))),
            Rule::MultipleOf(step) => found.step = Some(step.clone()),
            Rule::Reference(of) => found.and(facts(schema, *of)),
            Rule::AllOf(all) => all.iter().for_each(|of| found.and(facts(schema, *of))),
            Rule::AnyOf(all) | Rule::OneOf(all) => found.any(all.iter().map(|of| facts(schema, *of)).collect()),
            Rule::If { then, otherwise, .. } => {
                for of in [then, otherwise].into_iter().flatten() {
                    let Facts { named, elements, .. } = facts(schema, *of);
                    found.add(named, None, elements);
                }
            }
            Rule::Elements { prefix, rest: Some(of), .. } if prefix.is_empty() => found.elements = Some(*of),
            Rule::Properties { named, rest, .. } => {
                named.iter().for_each(|(name, of)| found.name(name, &[*of]));
                found.rest = found.rest.or(rest.filter(|of| !matches!(schema.node(*of).rules.as_slice(), [Rule::Never])));
            }
            Rule::Required(names) => found.required.extend(names.iter().cloned()),
            _ => {}
        }
    }
    found
}

/// Returns the types of values.
pub(super) fn of_values(values: &[Json]) -> Types {
    values.iter().fold(Types(0), |types, value| {
        types.with(match value {
            Json::Null => Types::NULL,
            Json::Bool(_) => Types::BOOLEAN,
            Json::Number(number) if is_integer(number) => Types::INTEGER,
            Json::Number(_) => Types::NUMBER,
            Json::String(_) => Types::STRING,
            Json::Array(_) => Types::ARRAY,
            Json::Object(_) => Types::OBJECT,
        })
    })
}

impl Schema {
    /// Returns the columns of a body. A property that is required and never null is NOT NULL.
    ///
    /// # Errors
    /// The schema names no property.
    pub(in crate::decode) fn columns(&self) -> Result<Derived, String> {
        let facts = facts(self, self.root);
        if !facts.types.has(Types::OBJECT) {
            return Err(format!("it describes no object: its type is {}", facts.types));
        }
        let mut columns = Columns { schema: self, around: vec![self.root], deriving: Deriving::default() };
        let fields = columns.members(&facts);
        columns.deriving.columns(fields, "properties")
    }
}

struct Columns<'s> {
    schema: &'s Schema,
    /// The nodes that the value is in.
    around: Vec<NodeId>,
    deriving: Deriving,
}

impl Columns<'_> {
    /// Returns the members of an object.
    fn members(&mut self, facts: &Facts) -> Vec<Field> {
        let mut fields = Vec::with_capacity(facts.named.len());
        for (name, nodes) in &facts.named {
            let column = column_name(name, facts.named.iter().map(|(other, _)| other.as_str()));
            self.deriving.begin_member(&column);
            let (data_type, is_nullable) = self.of_any(nodes);
            self.deriving.end_member();
            fields.push(Field::new(column, data_type, is_nullable || !facts.is_required(name)));
        }
        fields
    }

    /// Returns the type of values that may be of several schemas, and whether they may be null.
    fn of_any(&mut self, nodes: &[NodeId]) -> (DataType, bool) {
        let is_nullable = nodes.iter().any(|node| facts(self.schema, *node).types.has(Types::NULL));
        let said = self.deriving.said();
        let mut types: Vec<DataType> = Vec::new();
        for node in nodes {
            // A schema that says nothing of the type leaves it to the others.
            if nodes.len() > 1 && facts(self.schema, *node).types == Types::ALL {
                continue;
            }
            let data_type = self.of(*node);
            if !types.contains(&data_type) {
                types.push(data_type);
            }
        }
        match types.len() {
            1 => (types.remove(0), is_nullable),
            0 => (self.of(nodes[0]), is_nullable),
            _ => {
                self.deriving.unsay(said);
                (self.deriving.text("the schema has several types for it"), is_nullable)
            }
        }
    }

    fn of(&mut self, id: NodeId) -> DataType {
        if self.around.contains(&id) {
            return self.deriving.text("the schema refers to itself");
        }
        if let Entered::No(data_type) = self.deriving.enter() {
            return data_type;
        }
        self.around.push(id);
        let data_type = self.of_facts(&facts(self.schema, id));
        self.around.pop();
        self.deriving.leave();
        data_type
    }

    fn of_facts(&mut self, facts: &Facts) -> DataType {
        let types = facts.types.without(Types::NULL);
        let format = facts.format.as_deref().unwrap_or_default();
        match types {
            Types::BOOLEAN => DataType::Boolean,
            Types::INTEGER => match format {
                "int32" => DataType::Int32,
                "uint64" => DataType::UInt64,
                _ => DataType::Int64,
            },
            Types::NUMBER => match facts.step.as_ref().and_then(digits_of_step) {
                Some(0) => DataType::Int64,
                Some(digits @ 1..=MAX_SCALE) => DataType::Decimal128(PRECISION, i8::try_from(digits).unwrap_or_default()),
                _ => DataType::Float64,
            },
            Types::STRING => match format {
                "date-time" => DataType::Timestamp(TimeUnit::Nanosecond, None),
                "date" => DataType::Date32,
                _ if facts.is_base64 => DataType::Binary,
                _ => DataType::Utf8,
            },
            Types::ARRAY => match facts.elements {
                Some(element) => list_of(self.of(element)),
                None => self.deriving.text("the schema does not say what its elements are"),
            },
            Types::OBJECT if !facts.named.is_empty() => struct_of(self.members(facts)),
            Types::OBJECT => match facts.rest {
                Some(value) => map_of(self.of(value)),
                None => self.deriving.text("the schema does not name its members"),
            },
            Types(0) => self.deriving.text("the schema allows no value"),
            types if types == Types::ALL.without(Types::NULL) => self.deriving.text("the schema does not say its type"),
            types => self.deriving.text(&format!("it may be {types}")),
        }
    }
}

/// Checks whether bodies of a schema have values for a declared column.
///
/// # Errors
/// Says which property is missing or of another type.
pub(super) fn fits(schema: &Schema, column: &Field) -> Result<(), String> {
    member_fits(schema, &facts(schema, schema.root), column, 0)
}

fn member_fits(schema: &Schema, of: &Facts, column: &Field, depth: usize) -> Result<(), String> {
    let named = |exactly: bool| {
        of.named.iter().find(move |(name, _)| match exactly {
            true => name == column.name(),
            false => name.eq_ignore_ascii_case(column.name()),
        })
    };
    match (named(true).or_else(|| named(false)), of.rest) {
        (Some((_, nodes)), _) => any_fits(schema, nodes, column.data_type(), depth),
        (None, Some(rest)) => any_fits(schema, &[rest], column.data_type(), depth),
        (None, None) => Err(no_field(column.name(), of.named.iter().map(|(name, _)| name.as_str()))),
    }
}

/// Checks whether some value of one of the nodes fits into `data_type`.
fn any_fits(schema: &Schema, nodes: &[NodeId], data_type: &DataType, depth: usize) -> Result<(), String> {
    let mut reason = Ok(());
    for node in nodes {
        match node_fits(schema, &facts(schema, *node), data_type, depth) {
            Ok(()) => return Ok(()),
            Err(why) => reason = reason.and(Err(why)),
        }
    }
    reason
}

fn node_fits(schema: &Schema, of: &Facts, data_type: &DataType, depth: usize) -> Result<(), String> {
    use DataType as D;
    let numbers = Types::NUMBER.with(Types::INTEGER);
    let needed = match data_type {
        D::Utf8 | D::LargeUtf8 | D::Utf8View => return Ok(()),
        D::Dictionary(_, values) => return node_fits(schema, of, values, depth),
        D::Boolean => Types::BOOLEAN.with(Types::STRING).with(numbers),
        D::Struct(_) | D::Map(..) => Types::OBJECT,
        D::List(_) | D::LargeList(_) | D::FixedSizeList(..) => Types::ARRAY,
        D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) | D::Interval(_) => Types::STRING,
        _ => Types::STRING.with(numbers),
    };
    if !of.types.has(needed) {
        return Err(format!("the schema says that it is {}", of.types));
    }
    if depth > 32 {
        return Ok(());
    }
    match (data_type, of.elements) {
        (D::List(item) | D::LargeList(item) | D::FixedSizeList(item, _), Some(element)) => {
            any_fits(schema, &[element], item.data_type(), depth + 1)
        }
        (D::Struct(members), _) if !of.named.is_empty() => members
            .iter()
            .try_for_each(|member| member_fits(schema, of, member, depth + 1).map_err(|why| format!("{}: {why}", member.name()))),
        _ => Ok(()),
    }
}
