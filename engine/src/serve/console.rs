//! The console: pages for a browser, embedded in the program, over the JSON that [`super::http`] gives. It has no data of its own and asks for
//! nothing from other servers.
//!
//! Every page is the same document. Its script reads the path, fetches JSON, and puts it into the page as text. Trusted Types are enforced with
//! no policy, so a browser refuses to take a string for HTML.

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

/// Which content the pages may load, and from where: from this server only, and no script or style within a document.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
                                           object-src 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// The document of every page.
const DOCUMENT: &str = include_str!("console/index.html");

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A file that the pages load.
struct Asset {
    name: &'static str,
    content_type: &'static str,
    text: &'static str,
}

macro_rules! assets {
    ($($name:literal $content_type:expr),+ $(,)?) => {
        [$(Asset { name: $name, content_type: $content_type, text: include_str!(concat!("console/", $name)) }),+]
    };
}

static ASSETS: [Asset; 20] = assets![
    "console.css" "text/css; charset=utf-8",
    "icon.svg" "image/svg+xml",
    "api.js" SCRIPT,
    "app.js" SCRIPT,
    "chart.js" SCRIPT,
    "completion.js" SCRIPT,
    "dom.js" SCRIPT,
    "format.js" SCRIPT,
    "graph.js" SCRIPT,
    "letters.js" SCRIPT,
    "live.js" SCRIPT,
    "overview.js" SCRIPT,
    "payload.js" SCRIPT,
    "plan.js" SCRIPT,
    "query.js" SCRIPT,
    "rows.js" SCRIPT,
    "source.js" SCRIPT,
    "sql.js" SCRIPT,
    "table.js" SCRIPT,
    "view.js" SCRIPT,
];

/// Identifies the assets of this program for caches.
static TAG: LazyLock<String> = LazyLock::new(|| {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(DOCUMENT.as_bytes());
    ASSETS.iter().for_each(|asset| context.update(asset.text.as_bytes()));
    let mut tag = String::from("\"");
    for byte in &context.finish().as_ref()[..12] {
        // Writing to a String cannot fail.
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    tag
});

/// The routes of the pages and of what they load. They need no token: there is no data in them.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(async || Redirect::to("/console")))
        .route("/console", get(page))
        .route("/console/views/{view}", get(page))
        .route("/console/sources/{source}", get(page))
        .route("/console/dead-letters", get(page))
        .route("/console/query", get(page))
        .route("/console/assets/{name}", get(asset))
}

/// The path at which a page's data is there as JSON. `POST /query` answers the query page; it has no link.
fn twin(path: &str) -> Option<&str> {
    match path {
        "/console" => Some("/overview"),
        "/console/query" => None,
        path => path.strip_prefix("/console"),
    }
}

async fn page(uri: Uri, headers: HeaderMap) -> Response {
    let mut response = cached(&headers, "text/html; charset=utf-8", DOCUMENT);
    let link = twin(uri.path()).and_then(|twin| format!("<{twin}>; rel=\"alternate\"; type=\"application/json\"").parse().ok());
    if let Some(link) = link {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(asset) => cached(&headers, asset.content_type, asset.text),
        None => (StatusCode::NOT_FOUND, "there is no such file\n").into_response(),
    }
}

/// Sends a text, or that it has not changed since the browser fetched it.
fn cached(headers: &HeaderMap, content_type: &'static str, text: &'static str) -> Response {
    let common = [
        (header::ETAG, TAG.as_str()),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == TAG.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    (common, [(header::CONTENT_TYPE, content_type)], text).into_response()
}

#[cfg(test)]
mod tests;
