//! What the previews are drawn from: the answers to every panel's queries, in files.

use palisade_tests::dashboard::{Dashboard, Language, Place, interpolate};
use palisade_tests::repository::path;
use serde_json::json;

use super::ask::Asker;

/// Writes `target/dashboards/<dashboard>.json`; `scripts/preview-dashboards` draws it.
pub(crate) async fn save(dashboards: &[Dashboard], asker: &Asker<'_>, window: (f64, f64)) {
    let folder = path("target/dashboards");
    std::fs::create_dir_all(&folder).unwrap();
    for dashboard in dashboards {
        let values = asker.values(dashboard);
        let mut answers = Vec::new();
        for query in dashboard.queries() {
            if query.place != Place::Panel || query.language != Language::PromQl {
                continue;
            }
            let Ok(expression) = interpolate(&query.expression, &values) else {
                continue;
            };
            let series = asker.ask(query.instant, &expression).await;
            answers.push(json!({
                "panel": query.panel,
                "legend": query.legend,
                "series": series.unwrap_or_default(),
            }));
        }
        let content = json!({ "window": [window.0, window.1], "answers": answers });
        let file = folder.join(format!("{}.json", dashboard.name));
        std::fs::write(file, content.to_string()).unwrap();
    }
}
