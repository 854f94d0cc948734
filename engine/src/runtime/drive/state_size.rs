//! How much state a pipeline holds, and the error when the process has no room for it.

use alluvium_sql::describe;

use super::Driver;
use super::pipeline::Member;
use crate::error::Error;

impl Driver {
    /// The bytes of state that all operators hold in memory.
    pub(super) fn state_bytes(&self) -> u64 {
        self.pipeline.members().iter().map(|member| member.projection.state_size().1).sum()
    }

    /// Says that the process is at its limit, and which operator of this pipeline holds most.
    pub(super) fn out_of_memory(&self) -> Error {
        let memory = self.pipeline.shared().memory();
        let largest = self.pipeline.members().iter().max_by_key(|member| member.projection.largest_operator().0);
        let holds = largest.map_or_else(String::new, |member| {
            let (bytes, path) = member.projection.largest_operator();
            format!(": {} holds {} of it", operator(member, &path), size(bytes))
        });
        Error::config(
            format!(
                "the process takes {}, and memory_limit is {}: pipeline {} has the most state, {}, and is stopped{holds}",
                size(memory.used()),
                size(memory.limit()),
                self.pipeline.name(),
                size(self.state_bytes())
            ),
            format!(
                "raise memory_limit in alluvium.toml, or let the views keep less (`retain`, a filter, fewer keys); \
                 `alluvium restart {}` then starts it again at its last commit",
                self.pipeline.name()
            ),
        )
    }
}

/// Names an operator as `alluvium explain` does.
fn operator(member: &Member, path: &[usize]) -> String {
    let tree = describe::to_json(&member.view);
    let node = path.iter().try_fold(&tree["plan"], |node, index| node.get("inputs")?.get(*index));
    match node.and_then(|node| node["does"].as_str()) {
        Some(does) => format!("`{does}` of view {}", member.view.name),
        None => format!("view {}", member.view.name),
    }
}

fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}
