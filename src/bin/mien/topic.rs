//! MQTT topic filters.

use std::str::FromStr;

/// Levels between slashes; `+` stands for any one level, `#` at the end for all that follow, none
/// among them.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicFilter(Vec<String>);

impl FromStr for TopicFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let levels: Vec<String> = text.split('/').map(str::to_owned).collect();
        let misplaced = levels.iter().enumerate().find(|(i, level)| {
            let alone = level.len() == 1;
            level.contains('#') && !(alone && i + 1 == levels.len())
                || level.contains('+') && !alone
        });
        match misplaced {
            Some((_, level)) => {
                Err(format!("in level {level:?}: + and # stand alone, # at the end"))
            }
            None => Ok(Self(levels)),
        }
    }
}

impl TopicFilter {
    /// Whether the topic is one of those.
    pub fn matches(&self, topic: &str) -> bool {
        let mut levels = topic.split('/');
        for wanted in &self.0 {
            match (wanted.as_str(), levels.next()) {
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (wanted, Some(level)) if wanted == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_as_mqtt_says() {
        for (filter, topic, matches) in [
            ("mien/hall/room", "mien/hall/room", true),
            ("mien/hall/room", "mien/hall", false),
            ("mien/hall", "mien/hall/room", false),
            ("mien/+/room", "mien/hall/room", true),
            ("mien/+", "mien/hall/room", false),
            ("+", "mien", true),
            ("#", "mien/hall/room", true),
            ("mien/#", "mien", true),
            ("mien/hall/#", "mien/hall/face/1", true),
            ("mien/+/face/#", "mien/hall/room", false),
            ("+/+", "/finish", true),
        ] {
            let filter: TopicFilter = filter.parse().unwrap();
            assert_eq!(filter.matches(topic), matches, "{filter:?} {topic}");
        }
        for wrong in ["a/#/b", "a#", "a/b+", "++"] {
            assert!(wrong.parse::<TopicFilter>().is_err(), "{wrong}");
        }
    }
}
