//! `docs/sql.md`, taken apart.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};

const PAGE: &str = include_str!("../../docs/sql.md");

/// Every engine, as the page calls it and as its trials are called.
const ENGINES: [(&str, &[&str]); 4] = [
    ("PostgreSQL", &["postgres", "pgbouncer"]),
    ("MySQL", &["mysql"]),
    ("MariaDB", &["mariadb"]),
    ("SQLite", &["sqlite"]),
];

/// A block of SQL that answers a question.
#[derive(Debug)]
pub struct Question {
    /// The heading above it.
    pub heading: &'static str,
    /// What its comment says before the colon.
    engines: &'static str,
    /// What its comment says that it reads.
    pub claim: &'static str,
    /// One statement, without the comment and the semicolon.
    pub sql: &'static str,
    /// The cells of the table below it, row by row. None follows a statement that only prepares what comes next.
    pub answer: Option<Vec<Vec<&'static str>>>,
}

impl Question {
    fn read(heading: &'static str, block: &'static str) -> Option<Self> {
        let (comment, sql) = block.strip_prefix("-- ")?.split_once('\n')?;
        let (engines, claim) = comment.split_once(": ")?;
        Some(Self {
            heading,
            engines,
            claim,
            sql: sql.trim().strip_suffix(';')?,
            answer: None,
        })
    }

    fn is_for(&self, engine: &str) -> bool {
        self.engines == "every engine"
            || ENGINES.iter().any(|(name, trials)| {
                trials.contains(&engine) && self.engines.split(", ").any(|word| word == *name)
            })
    }
}

/// The questions of an engine, in the order of the page.
pub fn questions(engine: &str) -> anyhow::Result<Vec<Question>> {
    let mut all: Vec<Question> = Vec::new();
    for section in PAGE.split("\n## ").skip(1) {
        let (heading, text) = section.split_once('\n').context("an empty section")?;
        let mut rest = text;
        // Blocks for several engines stand above the one answer.
        let mut first_unanswered = all.len();
        while let Some((_, from_block)) = rest.split_once("```sql\n") {
            let (block, after) = from_block.split_once("```").context("no end of the SQL")?;
            // Grants are no questions.
            if let Some(question) = Question::read(heading, block) {
                if question.sql.starts_with("create") {
                    first_unanswered = all.len() + 1;
                }
                all.push(question);
            }
            let before_next = after.split("```sql\n").next().unwrap_or_default();
            let answer: Vec<_> = table(before_next).collect();
            if !answer.is_empty() {
                for question in &mut all[first_unanswered..] {
                    question.answer = Some(answer.clone());
                }
                first_unanswered = all.len();
            }
            rest = after;
        }
    }
    for question in &all {
        let only_prepares = question.sql.starts_with("create");
        ensure!(only_prepares != question.answer.is_some(), "{question:?}");
    }
    all.retain(|question| question.is_for(engine));
    Ok(all)
}

/// The names of indexes, by the words that the page has for them.
pub fn indexes(engine: &str) -> anyhow::Result<BTreeMap<String, &'static str>> {
    let column = match engine {
        "postgres" | "pgbouncer" => 1,
        "mysql" | "mariadb" => 2,
        _ => 3,
    };
    let (_, from_table) = PAGE.split_once("| it says |").context("no table")?;
    table(from_table)
        .take_while(|row| row.len() == 4)
        .map(|row| Ok((row[0].replace('`', ""), row[column].trim_matches('`'))))
        .collect()
}

/// The rows of the tables in a text, without their headings.
fn table(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines()
        .skip_while(|line| !line.starts_with("|---"))
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            line.trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().trim_matches('`'))
                .collect()
        })
}
