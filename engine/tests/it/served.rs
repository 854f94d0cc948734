//! A run that serves HTTP, and the requests that tests send to it.

use crate::orders::{Orders, Running, wait_until};

/// A run that serves HTTP.
pub(crate) struct Served {
    pub(crate) running: Running,
    url: String,
}

impl Served {
    pub(crate) fn start(orders: &Orders, variables: &[(&str, &str)]) -> Served {
        let mut command = orders.alluvium(&["run", "--http", "127.0.0.1:0"]);
        command.envs(variables.iter().copied());
        Served::of(orders, command)
    }

    pub(crate) fn of(orders: &Orders, mut command: std::process::Command) -> Served {
        let running = Running(orders.logging(&mut command).spawn().unwrap());
        let mut url = None;
        wait_until("it serves HTTP", || {
            let text = std::fs::read(orders.dir().join("data/run.lock")).unwrap_or_default();
            let info: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
            url = (info["pid"] == running.0.id()).then(|| info["http"].as_str().map(str::to_owned)).flatten();
            url.is_some()
        });
        Served { running, url: format!("http://{}", url.unwrap()) }
    }

    /// The address that it serves, without a path.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Returns the status code and the text of a path.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        let agent: ureq::Agent = config.into();
        let mut response = agent.get(format!("{}{path}", self.url)).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    pub(crate) fn view(&self, name: &str) -> serde_json::Value {
        let views: Vec<serde_json::Value> = serde_json::from_str(&self.get("/status").1).unwrap();
        views.into_iter().find(|view| view["view"] == name).unwrap_or_default()
    }

    pub(crate) fn phase(&self, name: &str) -> String {
        self.view(name)["phase"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn ready(&self) -> bool {
        self.get("/readyz").0 == 200
    }
}
