//! Why a rule answers as it does: the value of every part of it.

use super::{
    Position, Rule, RuleFault, RuleInput,
    program::{List, Node, Op},
    run::{Run, Value},
};

/// How many items of a list a macro's test is shown for: more, and nobody reads them.
const ITEMS_MAX: usize = 20;

/// A part of a rule, what it gave, and the parts that it is made of. Constants are left out: they say what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// What the part says.
    pub expression: String,
    /// Where it stands.
    pub at: Position,
    /// What it gave, as a rule would write it; or why it has no answer.
    pub value: Result<String, RuleFault>,
    /// The item of the list that it was asked about, where it is the test of a macro.
    pub item: Option<String>,
    /// What it is made of. All parts have a value here, also those that an answer did not depend on.
    pub parts: Vec<Self>,
}

impl Rule {
    /// The value of every part of the rule.
    pub fn explain(&self, input: &RuleInput<'_>) -> Explained {
        Run::new(input).explain(&self.0.root)
    }
}

impl<'a> Run<'a> {
    fn explain(&mut self, node: &'a Node) -> Explained {
        let item = self.item();
        let value = self.value(node).map(|value| value.to_string());
        let mut parts = Vec::new();
        for part in parts_of(node) {
            // A macro within may have left its own.
            self.set_item(item);
            match part {
                Part::Constant => {}
                Part::Node(part) => parts.push(self.explain(part)),
                Part::Tests(list, test) => parts.extend(self.explain_tests(list, test)),
            }
        }
        self.set_item(item);
        Explained { expression: node.to_string(), at: node.at, value, item: None, parts }
    }

    /// The test of a macro, for one item after the other.
    fn explain_tests(&mut self, list: &'a List, test: &'a Node) -> Vec<Explained> {
        // A list that cannot be made is explained by its own parts.
        let items = self.list(list).unwrap_or_default();
        let mut told = Vec::new();
        for item in items.into_iter().take(ITEMS_MAX) {
            self.set_item(Some(item));
            told.push(Explained { item: Some(item.to_string()), ..self.explain(test) });
        }
        told
    }
}

/// What a part of a rule is made of.
enum Part<'a> {
    Constant,
    Node(&'a Node),
    /// What is asked about each item of a list.
    Tests(&'a List, &'a Node),
}

impl<'a> From<&'a Node> for Part<'a> {
    fn from(node: &'a Node) -> Self {
        if matches!(node.op, Op::Constant(_)) { Self::Constant } else { Self::Node(node) }
    }
}

fn parts_of(node: &Node) -> Vec<Part<'_>> {
    match &node.op {
        Op::Constant(_) | Op::Read(_) | Op::RankPresent | Op::AttributeCount | Op::Item => Vec::new(),
        Op::Attribute(part)
        | Op::AttributePresent(part)
        | Op::Not(part)
        | Op::Negate(part)
        | Op::InTable(part, _)
        | Op::Lookup(_, part)
        | Op::StringSize(part)
        | Op::Matches(part, _)
        | Op::Calendar(_, part) => vec![Part::from(&**part)],
        Op::And(left, right)
        | Op::Or(left, right)
        | Op::Compare(_, left, right)
        | Op::Calculate(_, left, right)
        | Op::Search(_, left, right) => vec![Part::from(&**left), Part::from(&**right)],
        Op::If(parts) => parts.iter().map(Part::from).collect(),
        Op::InList(item, list) => {
            let mut parts = vec![Part::from(&**item)];
            parts.extend(parts_of_list(list));
            parts
        }
        Op::ItemAt(list, index) => {
            let mut parts = parts_of_list(list);
            parts.push(Part::from(&**index));
            parts
        }
        Op::ListSize(list) => parts_of_list(list),
        Op::Quantify(_, list, test) => {
            let mut parts = parts_of_list(list);
            parts.push(Part::Tests(list, test));
            parts
        }
    }
}

fn parts_of_list(list: &List) -> Vec<Part<'_>> {
    match list {
        List::Items(items) => items.iter().map(Part::from).collect(),
        List::AttributeNames(_) => Vec::new(),
        List::Picked { range, keep, to } => {
            let mut parts = parts_of_list(range);
            parts.extend(keep.iter().chain(to).map(|test| Part::Tests(range, test)));
            parts
        }
        List::If(condition, branches) => {
            let mut parts = vec![Part::from(&**condition)];
            parts.extend(branches.iter().flat_map(parts_of_list));
            parts
        }
    }
}

impl std::fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use super::text::{Length, Moment, Quoted};
        match self {
            Self::Bool(flag) => write!(f, "{flag}"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Text(text) => Quoted(text).fmt(f),
            Self::Time(time) => Moment(*time).fmt(f),
            Self::Span(span) => Length(*span).fmt(f),
            Self::Amount(amount) => write!(f, "amount('{amount}')"),
        }
    }
}
