//! What rules are called in tables and pictures.

use wgpu_optim::rules;

use crate::RuleText;

/// The names that authors write otherwise than this crate's types.
const TITLES: &[(&str, &str)] = &[
    ("sgd", "SGD"),
    ("adagrad", "AdaGrad"),
    ("rmsprop", "RMSprop"),
    ("adadelta", "AdaDelta"),
    ("adamax", "AdaMax"),
    ("signsgd", "signSGD"),
    ("adopt", "ADOPT"),
    ("ademamix", "AdEMAMix"),
    ("asgd", "ASGD"),
    ("schedulefree_adamw", "Schedule-free AdamW"),
    ("schedulefree_sgd", "Schedule-free SGD"),
    ("newton", "Newton, diagonal"),
    ("lars", "LARS"),
    ("lamb", "LAMB"),
    ("newton_dense", "Newton, dense"),
    ("gradient_agreement", "Gradient agreement"),
];

/// The rule's name as its authors write it.
fn title(name: &str) -> String {
    if let Some((_, title)) = TITLES.iter().find(|(known, _)| *known == name) {
        return (*title).to_owned();
    }
    // That of its type, with which its text for programmers starts.
    let text = rules::by_name(name).map(|rule| format!("{rule:?}"));
    let of_type = text.ok().and_then(|text| {
        let end = text.find(|c: char| !c.is_alphanumeric())?;
        Some(text[..end].to_owned())
    });
    of_type.unwrap_or_else(|| name.to_owned())
}

impl RuleText {
    /// The rule's name as people write it, and what tells it from the rule's defaults: `Adam`,
    /// `Momentum 0.9`, `AdamW weight_decay=0.1`.
    pub fn title(&self) -> String {
        let (name, used) = self.own_name().unwrap_or_else(|| (title(&self.name), &[]));
        let rest = self.hyper.iter().filter(|h| !used.contains(&&*h.name));
        rest.fold(name, |title, hyper| format!("{title} {hyper}"))
    }

    /// What variants with a name of their own are called, and which hyperparameters that says.
    fn own_name(&self) -> Option<(String, &'static [&'static str])> {
        let value = |name: &str| {
            let mut given = self.hyper.iter().rev();
            given.find(|h| h.name == name).map(|h| &*h.value)
        };
        match &*self.name {
            "sgd" => {
                let momentum = value("momentum")?;
                Some(match (momentum.parse(), value("nesterov")) {
                    (Ok(0.0), _) => ("SGD".to_owned(), &["momentum"]),
                    (_, Some("true")) => {
                        (format!("Nesterov {momentum}"), &["momentum", "nesterov"])
                    }
                    _ => (format!("Momentum {momentum}"), &["momentum"]),
                })
            }
            "adam" => match value("amsgrad")? {
                // PyTorch's, which most people mean.
                "max_raw" => Some(("AMSGrad".to_owned(), &["amsgrad"])),
                "off" => Some(("Adam".to_owned(), &["amsgrad"])),
                form => Some((format!("AMSGrad {form}"), &["amsgrad"])),
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_title_and_no_two_share_one() {
        let mut titles: Vec<_> = rules::names().map(title).collect();
        for known in ["AdamW", "NAdam", "NovoGrad", "Muon", "LARS", "signSGD"] {
            assert!(titles.contains(&known.to_owned()), "{titles:?}");
        }
        for (name, _) in TITLES {
            assert!(rules::names().any(|known| known == *name), "{name}");
        }
        titles.sort();
        titles.dedup();
        assert_eq!(titles.len(), rules::names().len());
    }

    #[test]
    fn variants_that_people_know_by_name_have_it() {
        for (text, title) in [
            ("sgd", "SGD"),
            ("sgd:momentum=0", "SGD"),
            ("sgd:momentum=0.9", "Momentum 0.9"),
            ("sgd:momentum=0.9:nesterov=true", "Nesterov 0.9"),
            (
                "sgd:momentum=0.9:nesterov=false",
                "Momentum 0.9 nesterov=false",
            ),
            ("adam:amsgrad=max_raw", "AMSGrad"),
            (
                "adam:amsgrad=max_corrected:lr=0.1",
                "AMSGrad max_corrected lr=0.1",
            ),
            ("adamw:weight_decay=0.1", "AdamW weight_decay=0.1"),
        ] {
            assert_eq!(text.parse::<RuleText>().unwrap().title(), title);
        }
    }
}
