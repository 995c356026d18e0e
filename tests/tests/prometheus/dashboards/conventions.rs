//! How the dashboards are written: what Grafana would show wrong, or a reader would miss, is found without Grafana.

use std::collections::{BTreeMap, BTreeSet};

use palisade_tests::dashboard::{
    Dashboard, Language, Place, Query, label_values, list, text, variables_in,
};
use palisade_tests::promql::selectors;
use palisade_tests::repository;
use serde_json::Value;

/// What Grafana fills in by itself.
const BUILT_IN: [&str; 8] = [
    "__all",
    "__rate_interval",
    "__range",
    "__interval",
    "__auto",
    "__url_time_range",
    "__all_variables",
    "__value",
];
fn panels(dashboard: &Dashboard) -> Vec<&Value> {
    let mut panels = dashboard.panels();
    panels.retain(|panel| panel["type"] != "row");
    panels
}

/// Runs a check on every dashboard and reports all that it finds.
fn check(problems: impl Fn(&Dashboard) -> Vec<String>) {
    let dashboards = Dashboard::all();
    assert_eq!(dashboards.len(), 3);
    let found: Vec<_> = dashboards
        .iter()
        .flat_map(|dashboard| {
            let problems = problems(dashboard);
            problems
                .into_iter()
                .map(|problem| format!("{}: {problem}", dashboard.name))
        })
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn each_dashboard_is_its_files_with_a_fixed_uid_and_cannot_be_changed_in_the_browser() {
    check(|dashboard| {
        let json = &dashboard.json;
        let mut problems = Vec::new();
        if json["uid"] != *dashboard.name {
            problems.push(format!("uid {}", json["uid"]));
        }
        if json["id"].is_number() {
            problems.push("an id, which is another in each Grafana".to_owned());
        }
        if json["editable"] != false {
            problems.push("editable".into());
        }
        for field in ["title", "description"] {
            if text(&json[field]).is_empty() {
                problems.push(format!("no {field}"));
            }
        }
        problems
    });
}

#[test]
fn each_panel_states_its_question_its_unit_its_thresholds_and_where_to_go_on() {
    check(|dashboard| {
        let mut problems = Vec::new();
        for panel in panels(dashboard) {
            let title = text(&panel["title"]);
            let defaults = &panel["fieldConfig"]["defaults"];
            let description = text(&panel["description"]);
            for (is_there, what) in [
                (!title.is_empty(), "title"),
                (description.contains('?'), "question in its description"),
                (!text(&defaults["unit"]).is_empty(), "unit"),
                (
                    !list(&defaults["thresholds"]["steps"]).is_empty(),
                    "thresholds",
                ),
                (!list(&panel["links"]).is_empty(), "links"),
                (!list(&panel["targets"]).is_empty(), "queries"),
            ] {
                if !is_there {
                    problems.push(format!("panel {} {title:?} has no {what}", panel["id"]));
                }
            }
        }
        problems
    });
}

#[test]
fn no_two_panels_share_a_number_a_title_or_a_place() {
    check(|dashboard| {
        let mut problems = Vec::new();
        let (mut ids, mut titles, mut places) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
        for panel in dashboard.panels() {
            let title = text(&panel["title"]);
            if !ids.insert(panel["id"].as_u64()) {
                problems.push(format!("{title}: id {} twice", panel["id"]));
            }
            if panel["type"] != "row" && !titles.insert(title.clone()) {
                problems.push(format!("{title}: twice"));
            }
            let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
            let (x, y, w, h) = (side("x"), side("y"), side("w"), side("h"));
            if w == 0 || h == 0 || x + w > 24 {
                problems.push(format!("{title}: outside of the 24 columns"));
            }
            for column in x..x + w {
                for row in y..y + h {
                    if let Some(other) = places.insert((column, row), title.clone())
                        && other != title
                    {
                        problems.push(format!("{title}: on top of {other}"));
                    }
                }
            }
        }
        problems.dedup();
        problems
    });
}

#[test]
fn the_variables_that_are_defined_are_those_that_are_used() {
    check(|dashboard| {
        let defined: BTreeSet<_> = dashboard
            .variables()
            .iter()
            .map(|variable| text(&variable["name"]))
            .collect();
        // What a variable is defined by, beside its own name, uses others.
        let whole = dashboard.json.to_string();
        let used: BTreeSet<_> = variables_in(&whole)
            .into_iter()
            .filter(|name| !BUILT_IN.contains(&name.as_str()))
            .collect();
        let mut problems = Vec::new();
        for name in used.difference(&defined) {
            problems.push(format!("${name} is used and not defined"));
        }
        for name in defined.difference(&used) {
            problems.push(format!("${name} is defined and not used"));
        }
        for wanted in ["datasource", "job", "instance"] {
            if !defined.contains(wanted) {
                problems.push(format!("no variable {wanted}"));
            }
        }
        problems
    });
}

#[test]
fn every_datasource_is_chosen_by_a_variable() {
    check(|dashboard| {
        let kinds: BTreeMap<_, _> = dashboard
            .variables()
            .iter()
            .filter(|variable| variable["type"] == "datasource")
            .map(|variable| {
                let reference = format!("${{{}}}", text(&variable["name"]));
                (reference, text(&variable["query"]))
            })
            .collect();
        let mut problems = Vec::new();
        let mut see = |place: &str, source: &Value| {
            let uid = text(&source["uid"]);
            if kinds.get(&uid) != Some(&text(&source["type"])) {
                problems.push(format!("{place}: datasource {source}"));
            }
        };
        for panel in panels(dashboard) {
            let title = text(&panel["title"]);
            see(&title, &panel["datasource"]);
            for target in list(&panel["targets"]) {
                see(&title, &target["datasource"]);
            }
        }
        for annotation in dashboard.annotations() {
            see(&text(&annotation["name"]), &annotation["datasource"]);
        }
        for variable in dashboard.variables() {
            if variable["type"] == "query" {
                see(&text(&variable["name"]), &variable["datasource"]);
            }
        }
        problems
    });
}

/// What is wrong with the selectors of a query in PromQL.
fn careless(query: &Query, has_country: bool) -> Vec<String> {
    let mut problems = Vec::new();
    let asked = match label_values(&query.expression) {
        Some((series, _)) => series,
        None => &query.expression,
    };
    for selector in selectors(asked) {
        let metric = selector.metric.clone().unwrap_or_default();
        // `level:metric:operation`: the level says which labels are left.
        let level = metric.split_once(':').map(|(level, _)| level);
        let about_jobs = level.is_some_and(|level| level.split('_').next() == Some("job"));
        let mut wanted = vec!["job"];
        if !about_jobs {
            wanted.push("instance");
        }
        if has_country && metric.starts_with("webstore_") && by_country(&metric) {
            wanted.push("country");
        }
        // The first variables are what the later ones, and they themselves, are chosen from.
        if query.place == Place::Variable {
            wanted.retain(|label| asked.contains(&format!("${label}")));
        }
        for label in wanted {
            if !selector.has(label, "=~", &format!("${label}")) {
                problems.push(format!("{metric} without {label}=~\"${label}\""));
            }
        }
    }
    // A series without labels beside those that have some would be drawn as a line of its own.
    let is_grouped = query.expression.contains(" by (");
    if is_grouped
        && query.expression.ends_with(" or vector(0)")
        && !is_one_number(&query.expression)
    {
        problems.push("`or vector(0)` beside groups: `or on () vector(0)`".into());
    }
    let rated = [
        "rate(",
        "irate(",
        "increase(",
        "changes(",
        "resets(",
        "delta(",
    ];
    for (at, _) in query.expression.match_indices('[') {
        let (before, after) = query.expression.split_at(at);
        let range = after[1..].split(']').next().unwrap_or_default();
        let function = rated
            .iter()
            .max_by_key(|function| before.rfind(**function))
            .filter(|function| before.contains(**function));
        // An increase is an amount in a time that the title or the reader chose; a rate is of now.
        let free = matches!(function, Some(&"increase("));
        // Five minutes are what the alerts judge.
        if !free && !range.starts_with('$') && range != "5m" {
            problems.push(format!("[{range}] instead of [$__rate_interval]"));
        }
    }
    problems
}

/// Whether the outermost aggregation leaves no label.
fn is_one_number(expression: &str) -> bool {
    ["sum(", "count(", "avg(", "min(", "max("]
        .iter()
        .any(|outermost| expression.starts_with(outermost))
}

fn by_country(metric: &str) -> bool {
    [
        "webstore_funnel_stage_total",
        "webstore_funnel_visitors_total",
        "webstore_customer_segment_total",
    ]
    .contains(&metric)
}

#[test]
fn every_query_asks_for_what_the_reader_chose() {
    check(|dashboard| {
        let has_country = dashboard
            .variables()
            .iter()
            .any(|variable| variable["name"] == "country");
        let queries = dashboard.queries();
        let queries = queries
            .iter()
            .filter(|query| query.language == Language::PromQl);
        queries
            .flat_map(|query| {
                let title = query.title.clone();
                let problems = careless(query, has_country);
                problems
                    .into_iter()
                    .map(move |problem| format!("{title}: {problem}"))
            })
            .collect()
    });
}

#[test]
fn every_link_leads_to_a_dashboard_or_a_section_of_the_runbooks() {
    let anchors: BTreeSet<_> = repository::text("docs/runbooks.md")
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|heading| heading.to_lowercase().replace(' ', "-"))
        .collect();
    let names: BTreeSet<_> = Dashboard::all()
        .into_iter()
        .map(|dashboard| dashboard.name)
        .collect();
    check(|dashboard| {
        let mut links: Vec<&Value> = list(&dashboard.json["links"]).iter().collect();
        for panel in panels(dashboard) {
            links.extend(list(&panel["links"]));
            links.extend(list(&panel["fieldConfig"]["defaults"]["links"]));
        }
        let mut problems = Vec::new();
        for link in &links {
            let url = text(&link["url"]);
            let leads = if let Some(rest) = url.strip_prefix("/d/") {
                names.contains(rest.split(['?', '/']).next().unwrap_or_default())
            } else if let Some(section) = url.strip_prefix("${runbooks}#") {
                anchors.contains(section)
            } else {
                url == "${runbooks}"
            };
            if !leads || text(&link["title"]).is_empty() {
                problems.push(format!("link {link}"));
            }
        }
        // The three know each other.
        for other in names.iter().filter(|name| **name != dashboard.name) {
            let wanted = format!("/d/{other}");
            let has = list(&dashboard.json["links"])
                .iter()
                .any(|link| link["url"] == *wanted && link["includeVars"] == true);
            if !has {
                problems.push(format!("no link to {other}"));
            }
        }
        problems
    });
}

#[test]
fn what_a_rule_asks_of_the_shop_is_drawn_too() {
    let metrics = |expression: String| {
        let selectors = selectors(&expression).into_iter();
        let named = selectors.filter_map(|selector| selector.metric);
        named.filter(|metric| metric.starts_with("webstore_"))
    };
    let queries = Dashboard::all();
    let queries = queries.iter().flat_map(Dashboard::queries);
    let drawn: BTreeSet<_> = queries
        .filter(|query| query.language == Language::PromQl && query.place == Place::Panel)
        .flat_map(|query| metrics(query.expression))
        .collect();
    let rules = repository::yaml("prometheus/rules.yml");
    let rules = list(&rules["groups"])
        .iter()
        .flat_map(|group| list(&group["rules"]));
    let judged: BTreeSet<_> = rules
        .flat_map(|rule| metrics(text(&rule["expr"])))
        .collect();
    assert!(judged.len() > 5, "{judged:?}");
    let missing: Vec<_> = judged.difference(&drawn).collect();
    assert!(missing.is_empty(), "no panel asks for {missing:?}");
}
