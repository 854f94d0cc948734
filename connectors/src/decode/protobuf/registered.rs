//! A schema of a registry: a file, and the message in it that a body is. Behind the number of its schema, a body says which message it is, by
//! the place of each message that the message is in, from the outside in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use prost_reflect::{DescriptorPool, FileDescriptor, MessageDescriptor};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

use super::schema::{Schema, message_of};
use super::wire;
use crate::decode::fault::Fault;
use crate::decode::schema_registry::{Registered, SchemaText, unframed};

/// The name of the file whose schema is asked for, unless another one has it.
const ROOT: &str = "schema.proto";
/// The maximum depth of a message in others.
const MAX_DEPTH: u64 = 64;

/// A file of a registry, with the plans of the messages that bodies have been.
#[derive(Debug)]
pub(in crate::decode) struct RegisteredFile {
    file: FileDescriptor,
    plans: Mutex<HashMap<Vec<usize>, Arc<Schema>>>,
}

/// The files that a schema imports.
struct Texts(HashMap<String, String>);

impl FileResolver for Texts {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.get(name) {
            Some(text) => File::from_source(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

impl Registered for RegisteredFile {
    const KIND: &'static str = "PROTOBUF";
    const NAME: &'static str = "Protobuf";
    const FAULT: &'static str = "not_protobuf";

    fn parse(texts: &[SchemaText]) -> Result<RegisteredFile, String> {
        let Some((root, imported)) = texts.split_last() else { return Err("it is empty".into()) };
        let mut files: HashMap<String, String> = imported.iter().map(|file| (file.name.clone(), file.text.clone())).collect();
        let mut name = ROOT.to_owned();
        while files.contains_key(&name) {
            name.insert(0, '_');
        }
        files.insert(name.clone(), root.text.clone());
        let file = compile(files, &name)?.get_file_by_name(&name).ok_or("it is empty")?;
        Ok(RegisteredFile { file, plans: Mutex::default() })
    }
}

/// Compiles the text of this name, which may import the others and Google's own types.
///
/// # Errors
/// Says what is wrong with one of them.
pub(super) fn compile(texts: HashMap<String, String>, name: &str) -> Result<DescriptorPool, String> {
    let mut resolver = ChainFileResolver::new();
    resolver.add(Texts(texts));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_file(name).map_err(|error| format!("{error:?}").replace('\n', " "))?;
    Ok(compiler.descriptor_pool())
}

impl RegisteredFile {
    /// Returns the plan of the message with this name, or of the only one of the file.
    ///
    /// # Errors
    /// There is no such message, or no name.
    pub(in crate::decode) fn named(&self, message: Option<&str>) -> Result<Arc<Schema>, String> {
        let mut own = self.file.messages().filter(|one| !one.is_map_entry());
        let found = match (message, own.next(), own.next()) {
            (None, Some(only), None) => only,
            _ => message_of(self.file.parent_pool(), message)?,
        };
        Ok(Arc::new(Schema::of(&found)))
    }

    /// Returns the plan of the message at these places.
    ///
    /// # Errors
    /// There is no such message.
    pub(super) fn plan(&self, places: &[usize]) -> Result<Arc<Schema>, String> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = plans.get(places) {
            return Ok(Arc::clone(plan));
        }
        // Entries of maps are messages that nobody has written.
        let written = |message: &MessageDescriptor| !message.is_map_entry();
        let mut found: Option<MessageDescriptor> = None;
        for place in places {
            found = match found {
                None => self.file.messages().filter(written).nth(*place),
                Some(message) => message.child_messages().filter(written).nth(*place),
            };
            if found.is_none() {
                return Err(format!("its schema has no message {places:?}"));
            }
        }
        let message = found.ok_or("the body does not say which message it is")?;
        let plan = Arc::new(Schema::of(&message));
        plans.insert(places.to_vec(), Arc::clone(&plan));
        Ok(plan)
    }
}

/// A body of a registry.
pub(super) struct Framed<'a> {
    /// The number of its schema.
    pub(super) id: u32,
    /// The bytes that say which message it is.
    pub(super) places: &'a [u8],
    pub(super) message: &'a [u8],
}

impl<'a> Framed<'a> {
    /// Splits a body.
    ///
    /// # Errors
    /// It does not begin as one of a registry.
    pub(super) fn of(body: &'a [u8]) -> Result<Framed<'a>, Fault> {
        let (id, datum) = unframed::<RegisteredFile>(body)?;
        let mut rest = datum;
        let count = zigzag(&mut rest)?;
        if count > MAX_DEPTH {
            return Err(wire::broken("the body does not say which message of its schema it is", datum));
        }
        for _ in 0..count {
            zigzag(&mut rest)?;
        }
        let (places, message) = datum.split_at(datum.len() - rest.len());
        Ok(Framed { id, places, message })
    }

    /// Returns the places of the message.
    pub(super) fn path(&self) -> Vec<usize> {
        let mut rest = self.places;
        let count = zigzag(&mut rest).unwrap_or_default();
        match count {
            // Short for the first message.
            0 => vec![0],
            _ => (0..count).map(|_| zigzag(&mut rest).unwrap_or(u64::MAX) as usize).collect(),
        }
    }
}

/// Reads a number in zigzag encoding, which is not negative.
fn zigzag(rest: &mut &[u8]) -> Result<u64, Fault> {
    let start = *rest;
    let value = wire::varint(rest)?;
    if value & 1 == 1 { Err(wire::broken("the place of a message is negative", start)) } else { Ok(value >> 1) }
}
