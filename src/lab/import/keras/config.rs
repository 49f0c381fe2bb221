//! A layer's configuration.

use serde_json::{Map, Value};

use super::super::super::float::LayerError;

/// Largest side, stride or count of filters: no product of a few of them overflows.
const MAX_COUNT: u64 = 1 << 16;

/// A layer's configuration, and its name for errors.
#[derive(Clone, Copy)]
pub struct Config<'a> {
    /// The layer's name.
    pub layer: &'a str,
    /// Values by key.
    pub values: &'a Map<String, Value>,
}

impl<'a> Config<'a> {
    /// An error of this layer.
    pub fn wrong(&self, why: impl Into<String>) -> LayerError {
        LayerError::new(self.layer, why)
    }

    /// A value that is there, and not `null`.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.values.get(key).filter(|value| !value.is_null())
    }

    fn unclear(&self, key: &str) -> LayerError {
        match self.get(key) {
            Some(value) => self.wrong(format!("its `{key}` is {}", shortened(value))),
            None => self.wrong(format!("it has no `{key}`")),
        }
    }

    /// A count from 1 on.
    pub fn count(&self, key: &str) -> Result<usize, LayerError> {
        self.get(key).and_then(count).filter(|n| *n > 0).ok_or_else(|| self.unclear(key))
    }

    /// Two counts from 1 on, along height and width; one stands for both.
    pub fn sides(&self, key: &str) -> Result<[usize; 2], LayerError> {
        let sides = self.get(key).and_then(pair);
        sides.filter(|sides| !sides.contains(&0)).ok_or_else(|| self.unclear(key))
    }

    /// Rows above and below, columns to the left and to the right: also as one number for all, or
    /// one for rows and one for columns.
    pub fn margins(&self, key: &str) -> Result<[[usize; 2]; 2], LayerError> {
        let axes = |value: &Value| match value.as_array().map(Vec::as_slice) {
            Some([rows, columns]) => Some([pair(rows)?, pair(columns)?]),
            Some(_) => None,
            None => pair(value).map(|both| [both; 2]),
        };
        self.get(key).and_then(axes).ok_or_else(|| self.unclear(key))
    }

    /// Whether something is on.
    pub fn flag(&self, key: &str, default: bool) -> Result<bool, LayerError> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| self.unclear(key)),
        }
    }

    /// A text.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>, LayerError> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or_else(|| self.unclear(key)),
        }
    }

    /// A number; none if the key is missing.
    pub fn number(&self, key: &str) -> Result<Option<f32>, LayerError> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => number(value).map(Some).ok_or_else(|| self.unclear(key)),
        }
    }

    /// Numbers, one or as many as there are channels; none if the key is missing.
    pub fn by_channel(&self, key: &str, channels: usize) -> Result<Option<Vec<f32>>, LayerError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let mut numbers = Vec::new();
        collect(value, &mut numbers).ok_or_else(|| self.unclear(key))?;
        let numbers = broadcast(numbers, channels);
        numbers.map(Some).ok_or_else(|| self.unclear(key))
    }

    /// Integers, negative ones too.
    pub fn integers(&self, key: &str) -> Result<Vec<i64>, LayerError> {
        let integers = |value: &Value| match value {
            Value::Array(values) => values.iter().map(Value::as_i64).collect(),
            value => value.as_i64().map(|n| vec![n]),
        };
        self.get(key).and_then(integers).ok_or_else(|| self.unclear(key))
    }
}

/// A value for an error's text.
fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn count(value: &Value) -> Option<usize> {
    value.as_u64().filter(|n| *n <= MAX_COUNT).and_then(|n| usize::try_from(n).ok())
}

fn pair(value: &Value) -> Option<[usize; 2]> {
    match value.as_array().map(Vec::as_slice) {
        None => count(value).map(|n| [n; 2]),
        Some([a, b]) => Some([count(a)?, count(b)?]),
        Some([both]) => count(both).map(|n| [n; 2]),
        Some(_) => None,
    }
}

/// A number, also as Keras 2 writes NumPy's: `{"value": 6.0, …}`, by itself or as a `config`.
fn number(value: &Value) -> Option<f32> {
    let plain = match value.get("config").unwrap_or(value).get("value") {
        Some(inner) => inner,
        None => value,
    };
    plain.as_f64().map(|number| number as f32)
}

/// All numbers of nested lists.
fn collect(value: &Value, numbers: &mut Vec<f32>) -> Option<()> {
    match value {
        Value::Array(values) => values.iter().try_for_each(|value| collect(value, numbers)),
        value => {
            numbers.push(number(value)?);
            Some(())
        }
    }
}

/// One number for each channel, from one for all or as many.
pub fn broadcast(numbers: Vec<f32>, channels: usize) -> Option<Vec<f32>> {
    match numbers.as_slice() {
        [one] => Some(vec![*one; channels]),
        all => (all.len() == channels).then_some(numbers),
    }
}

/// Height, width and channels of a picture's shape with its batch: `[null, 48, 48, 1]`, or
/// `[null, null, null, 1]` where `side` tells the rest.
pub fn picture(shape: &Value, side: Option<usize>) -> Option<[usize; 3]> {
    match shape.as_array()?.as_slice() {
        [_, Value::Null, Value::Null, c] => Some([side?, side?, count(c)?]),
        [_, h, w, c] => Some([count(h)?, count(w)?, count(c)?]),
        // Keras 3 wraps it in a list where a model is given its inputs as one.
        [inner] => picture(inner, side),
        _ => None,
    }
}
