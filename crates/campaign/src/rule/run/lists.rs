//! Lists, map literals, and the macros over them.

use super::{FaultKind, Position, RuleFault, Run, Value, compare::compare, fault, limits, text};
use crate::rule::program::{Comparison, Constant, List, Node, Quantifier};

impl<'a> Run<'a> {
    /// All items of a list, in order.
    pub(in crate::rule) fn list(&mut self, list: &'a List) -> Result<Vec<Value<'a>>, RuleFault> {
        match list {
            List::Items(items) => {
                let mut values = Vec::with_capacity(items.len());
                for item in items {
                    values.push(self.value(item)?);
                }
                Ok(values)
            }
            List::AttributeNames(at) => self.attribute_names(*at),
            List::Picked { range, keep, to } => self.picked(range, keep.as_deref(), to.as_deref()),
            List::If(condition, branches) => {
                let [yes, no] = &**branches;
                let chosen = if self.truth(condition)? { yes } else { no };
                self.list(chosen)
            }
        }
    }

    fn attribute_names(&self, at: Position) -> Result<Vec<Value<'a>>, RuleFault> {
        let attributes = self.input.outcome.attributes;
        if attributes.len() > limits::ATTRIBUTES_MAX {
            return Err(fault(FaultKind::InputTooLarge, at));
        }
        attributes.keys().map(|name| text(name, at)).collect()
    }

    fn picked(
        &mut self,
        range: &'a List,
        keep: Option<&'a Node>,
        to: Option<&'a Node>,
    ) -> Result<Vec<Value<'a>>, RuleFault> {
        let mut picked = Vec::new();
        for item in self.list(range)? {
            self.item = Some(item);
            if keep.map_or(Ok(true), |keep| self.truth(keep))? {
                picked.push(to.map_or(Ok(item), |to| self.value(to))?);
            }
        }
        Ok(picked)
    }

    /// `all` and `exists` are `&&` and `||` over the items, so that one that settles it outweighs a fault;
    /// `exists_one` needs an answer for every item.
    pub(super) fn quantify(
        &mut self,
        quantifier: Quantifier,
        list: &'a List,
        test: &'a Node,
    ) -> Result<bool, RuleFault> {
        let (mut hits, mut first_fault) = (0_usize, None);
        for item in self.list(list)? {
            self.item = Some(item);
            match (quantifier, self.truth(test)) {
                (Quantifier::All, Ok(false)) => return Ok(false),
                (Quantifier::Exists, Ok(true)) => return Ok(true),
                (_, Ok(hit)) => hits += usize::from(hit),
                (_, Err(fault)) => first_fault = first_fault.or(Some(fault)),
            }
        }
        match (first_fault, quantifier) {
            (Some(fault), _) => Err(fault),
            (None, Quantifier::All) => Ok(true),
            (None, Quantifier::Exists) => Ok(false),
            (None, Quantifier::ExistsOne) => Ok(hits == 1),
        }
    }

    /// `item in list`, which is `||` over the items' equality.
    pub(super) fn in_list(
        &mut self,
        item: &'a Node,
        list: &'a List,
        at: Position,
    ) -> Result<Value<'a>, RuleFault> {
        let item = self.value(item)?;
        let mut comparable = true;
        for other in self.list(list)? {
            match compare(Comparison::Equal, item, other) {
                Some(true) => return Ok(Value::Bool(true)),
                Some(false) => {}
                None => comparable = false,
            }
        }
        if comparable { Ok(Value::Bool(false)) } else { Err(fault(FaultKind::AttributeType, at)) }
    }

    /// `list[index]`.
    pub(super) fn item_at(
        &mut self,
        list: &'a List,
        index: &'a Node,
        at: Position,
    ) -> Result<Value<'a>, RuleFault> {
        let items = self.list(list)?;
        let index = usize::try_from(self.int(index)?).ok();
        index.and_then(|index| items.get(index)).copied().ok_or(fault(FaultKind::IndexOutOfRange, at))
    }

    /// The value at `key`, if the map has it.
    pub(super) fn find(
        &mut self,
        table: &'a [(Constant, Constant)],
        key: &'a Node,
        at: Position,
    ) -> Result<Option<Value<'a>>, RuleFault> {
        let key = self.value(key)?;
        for (candidate, value) in table {
            match compare(Comparison::Equal, key, candidate.into()) {
                Some(true) => return Ok(Some(value.into())),
                Some(false) => {}
                None => return Err(fault(FaultKind::AttributeType, at)),
            }
        }
        Ok(None)
    }
}
