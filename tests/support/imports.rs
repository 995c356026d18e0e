//! What a source file of a crate takes from the crate's other modules.

/// Every path in `source` that starts at the crate's root, or reaches it by `super`, as the root's module and the
/// names under it; `*` is a glob. Comments, texts and whatever is for tests alone are left out.
///
/// `module` is the file's own path: `["store", "redis"]` for `store/redis/mod.rs`.
///
/// # Panics
/// A path has more `super`s than modules, which the compiler refuses too.
#[must_use]
pub fn imports(source: &str, module: &[&str]) -> Vec<Vec<String>> {
    let tokens = without_tests(&tokens(source));
    let mut found = Vec::new();
    // The modules that are open here, the file's own first, and at which depth of braces each was opened.
    let mut modules: Vec<(&str, usize)> = module.iter().map(|name| (*name, 0)).collect();
    let (mut depth, mut at) = (0, 0);
    while at < tokens.len() {
        match (&*tokens[at], tokens.get(at + 1..).unwrap_or_default()) {
            ("mod", [name, open, ..]) if open == "{" => {
                depth += 1;
                modules.push((name, depth));
                at += 2;
            }
            ("{", _) => depth += 1,
            ("}", _) => {
                modules.retain(|(_, opened)| *opened < depth || *opened == 0);
                depth -= 1;
            }
            ("crate" | "super" | "self", [separator, ..])
                if matches!(&**separator, "::" | "as") && (at == 0 || tokens[at - 1] != "::") =>
            {
                let here: Vec<_> = modules.iter().map(|(name, _)| (*name).to_owned()).collect();
                let mut leaves = Vec::new();
                at = tree(&tokens, at, &[], &mut leaves);
                found.extend(leaves.iter().filter_map(|leaf| from_root(leaf, &here)));
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Reads the path or the group at `at`, adds each path that it stands for, and returns where it ends.
fn tree(
    tokens: &[String],
    mut at: usize,
    prefix: &[String],
    leaves: &mut Vec<Vec<String>>,
) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("{") => {
                at += 1;
                while tokens[at] != "}" {
                    at = tree(tokens, at, &path, leaves);
                    // What may stand after a name in a group: `as other`, and the comma.
                    while !matches!(&*tokens[at], "," | "}") {
                        at += 1;
                    }
                    at += usize::from(tokens[at] == ",");
                }
                return at + 1;
            }
            Some(name) if name == "*" || is_name(name) => path.push(name.to_owned()),
            _ => break,
        }
        at += 1;
        if tokens.get(at).is_none_or(|token| token != "::") {
            break;
        }
        at += 1;
    }
    leaves.push(path);
    at
}

/// A path as the root sees it; `None` for one that stays within the root's module that it is in.
fn from_root(path: &[String], here: &[String]) -> Option<Vec<String>> {
    let (mut modules, mut names, mut left) = (here.to_vec(), Vec::new(), false);
    for name in path {
        match &**name {
            "crate" => (modules, left) = (Vec::new(), true),
            "super" => {
                modules.pop().expect("no more `super`s than modules");
                left |= modules.is_empty();
            }
            "self" => {}
            name => names.push(name.to_owned()),
        }
    }
    left.then(|| [modules, names].concat())
}

/// Drops what follows `#[cfg(test)]`, up to the end of that item.
fn without_tests(tokens: &[String]) -> Vec<String> {
    const CFG_TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        if !tokens[at..]
            .iter()
            .zip(CFG_TEST)
            .all(|(token, wanted)| token == wanted)
            || tokens.len() - at < CFG_TEST.len()
        {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let mut depth = 0;
        while at < tokens.len() {
            depth += usize::from(tokens[at] == "{");
            let ends = (tokens[at] == ";" && depth == 0) || (tokens[at] == "}" && depth == 1);
            depth -= usize::from(tokens[at] == "}");
            at += 1;
            if ends {
                break;
            }
        }
    }
    kept
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_') && token != "as"
}

/// Names, `::`, and every other character alone; no spaces, comments, texts or characters.
fn tokens(source: &str) -> Vec<String> {
    let (mut tokens, mut rest) = (Vec::new(), source);
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            comment(rest)
        } else if let Some(length) = text(rest) {
            length
        } else {
            let name = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            let length = match name {
                0 if rest.starts_with("::") => 2,
                0 => first.len_utf8(),
                name => name,
            };
            if !first.is_whitespace() {
                tokens.push(rest[..length].to_owned());
            }
            length
        };
        rest = &rest[length..];
    }
    tokens
}

/// The length of a block comment, which may hold others.
fn comment(source: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    loop {
        if source[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if source[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += source[at..].chars().next().map_or(0, char::len_utf8);
        }
        if depth == 0 || at == source.len() {
            return at;
        }
    }
}

/// The length of a text or character at the start of `source`, if there is one.
fn text(source: &str) -> Option<usize> {
    let body = source.strip_prefix(['b', 'c']).unwrap_or(source);
    let prefix = source.len() - body.len();
    let raw = body
        .strip_prefix('r')
        .map(|body| body.trim_start_matches('#'));
    if let Some(raw) = raw.and_then(|raw| raw.strip_prefix('"')) {
        let start = source.len() - raw.len();
        let end = format!("\"{}", "#".repeat(start - prefix - 2));
        return Some(start + raw.find(&end)? + end.len());
    }
    let quote = body.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let inner = &body[1..];
    // A lifetime has no second quote after one character.
    if quote == '\'' && !inner.starts_with('\\') && inner.chars().nth(1) != Some('\'') {
        return None;
    }
    let mut escaped = false;
    for (at, c) in inner.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(prefix + 1 + at + 1),
            _ => {}
        }
    }
    None
}
