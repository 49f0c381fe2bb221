//! Models that Keras wrote (by `import_keras.py`) compute here what they compute there; what isn't
//! understood is refused by name, damaged files are refused.
#![cfg(feature = "lab")]

use std::io::Write;
use std::path::{Path, PathBuf};

use mien::lab::float::{FloatGraph, Layers, lower};
use mien::lab::import::{self, ImportError};
use serde_json::{Value, json};

const NETWORKS: [&str; 6] = [
    "mini_xception_keras2",
    "mini_xception_keras3",
    "vgg_keras2",
    "vgg_keras3",
    "mixed_keras2",
    "mixed_keras3",
];
const SUFFIXES: [&str; 2] = ["h5", "keras"];
const TOLERANCE: f32 = 1e-4;

fn data(name: &str, suffix: &str) -> PathBuf {
    Path::new("tests/data/import").join(format!("{name}.{suffix}"))
}

fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|n| n.as_f64().unwrap() as f32).collect()
}

#[test]
fn networks_answer_as_in_keras() {
    for name in NETWORKS {
        let answers = std::fs::read(data(name, "json")).unwrap();
        let answers: Value = serde_json::from_slice(&answers).unwrap();
        let expected = numbers(&answers["logits"]);
        let converted = name.ends_with("keras3").then_some("tflite");
        for suffix in SUFFIXES.into_iter().chain(converted) {
            let layers = import::read(&data(name, suffix), None).unwrap_or_else(|e| panic!("{e}"));
            let graph: FloatGraph = lower(&layers).unwrap_or_else(|e| panic!("{name}: {e}"));
            let outputs = graph.outputs(&numbers(&answers["pictures"]));
            assert_eq!(outputs.len(), expected.len(), "{name}.{suffix}");
            let error = outputs.iter().zip(&expected).map(|(a, b)| (a - b).abs());
            let error = error.fold(0.0, f32::max);
            assert!(error < TOLERANCE, "{name}.{suffix}: {error}\n{outputs:?}\n{expected:?}");
        }
    }
}

/// Files of a `.keras` archive.
fn parts(name: &str) -> [Vec<u8>; 2] {
    let file = std::fs::File::open(data(name, "keras")).unwrap();
    let mut archive = zip::ZipArchive::new(file).unwrap();
    ["config.json", "model.weights.h5"].map(|name| {
        let mut bytes = Vec::new();
        std::io::copy(&mut archive.by_name(name).unwrap(), &mut bytes).unwrap();
        bytes
    })
}

/// A `.keras` archive, deflated.
fn archive(description: &[u8], weights: &[u8]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in [("config.json", description), ("model.weights.h5", weights)] {
        writer.start_file(name, zip::write::FileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn read(suffix: &str, bytes: &[u8]) -> Result<Layers, ImportError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("model.{suffix}"));
    std::fs::write(&path, bytes).unwrap();
    import::read(&path, None)
}

#[test]
fn a_picture_of_open_size_takes_the_side_it_is_told() {
    let [description, weights] = parts("mini_xception_keras3");
    let mut description = serde_json::from_slice(&description).unwrap();
    layer(&mut description, "InputLayer")["config"]["batch_shape"] = json!([null, null, null, 1]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.keras");
    std::fs::write(&path, archive(description.to_string().as_bytes(), &weights)).unwrap();
    assert!(import::read(&path, None).unwrap_err().to_string().contains("--side"));
    assert_eq!(import::read(&path, Some(64)).unwrap().nodes()[0].shape, [64, 64, 1]);
}

/// What reading `name` says, after its description was changed.
fn read_changed(name: &str, change: impl FnOnce(&mut Value)) -> Result<Layers, ImportError> {
    let [description, weights] = parts(name);
    let mut description = serde_json::from_slice(&description).unwrap();
    change(&mut description);
    read("keras", &archive(description.to_string().as_bytes(), &weights))
}

/// The description of the first layer of a class.
fn layer<'v>(description: &'v mut Value, class: &str) -> &'v mut Value {
    let layers = description["config"]["layers"].as_array_mut().unwrap();
    layers.iter_mut().find(|layer| layer["class_name"] == class).unwrap()
}

#[test]
fn a_deflated_archive_is_the_same_model() {
    let [description, weights] = parts("vgg_keras3");
    let deflated = archive(&description, &weights);
    let stored = std::fs::metadata(data("vgg_keras3", "keras")).unwrap().len();
    assert!((deflated.len() as u64) < stored);
    let layers = read("keras", &deflated).unwrap();
    assert_eq!(layers, import::read(&data("vgg_keras3", "keras"), None).unwrap());
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    type Change = fn(&mut Value);
    let cases: [(&str, Change, &[&str]); 13] = [
        (
            "Activation",
            |layer| layer["class_name"] = json!("LeakyReLU"),
            &["`activation", "LeakyReLU", "train with relu"],
        ),
        (
            "Activation",
            |layer| layer["class_name"] = json!("Lambda"),
            &["`activation", "Lambda", "other layers"],
        ),
        ("Flatten", |layer| layer["class_name"] = json!("LSTM"), &["`flatten", "LSTM", "single"]),
        (
            "Activation",
            |layer| layer["config"]["activation"] = json!("elu"),
            &["`activation", "`elu`", "train with relu"],
        ),
        (
            "Dense",
            |layer| layer["config"]["activation"] = json!("sigmoid"),
            &["`dense", "`sigmoid`", "train with relu"],
        ),
        (
            "Conv2D",
            |layer| layer["config"]["dilation_rate"] = json!([2, 2]),
            &["`conv2d", "dilated"],
        ),
        ("Conv2D", |layer| layer["config"]["groups"] = json!(2), &["`conv2d", "groups"]),
        (
            "Conv2D",
            |layer| layer["config"]["data_format"] = json!("channels_first"),
            &["`conv2d", "channels_last"],
        ),
        (
            "Conv2D",
            |layer| layer["config"]["filters"] = json!(5),
            &["`conv2d", "kernel", "[3, 3, 1, 4]", "[3, 3, 1, 5]"],
        ),
        (
            "Conv2D",
            |layer| layer["config"]["strides"] = json!([0, 1]),
            &["`conv2d", "`strides`", "[0,1]"],
        ),
        (
            "Conv2D",
            |layer| layer["config"]["kernel_size"] = json!(u64::MAX),
            &["`conv2d", "`kernel_size`"],
        ),
        (
            "BatchNormalization",
            |layer| layer["config"]["axis"] = json!(1),
            &["`batch_normalization", "axis is [1]"],
        ),
        (
            "MaxPooling2D",
            |layer| layer["config"]["padding"] = json!("full"),
            &["`max_pooling2d", "`full`"],
        ),
    ];
    for (class, change, words) in cases {
        for name in ["vgg_keras2", "vgg_keras3"] {
            let error = read_changed(name, |model| change(layer(model, class))).unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, ImportError::Layer { .. }), "{text}");
            assert!(words.iter().all(|word| text.contains(word)), "{text}: {words:?}");
        }
    }
}

#[test]
fn graphs_that_lead_nowhere_are_refused() {
    let loops = read_changed("mini_xception_keras2", |model| {
        let own = layer(model, "Add")["name"].clone();
        layer(model, "MaxPooling2D")["inbound_nodes"] = json!([[[own, 0, 0, {}]]]);
    });
    assert!(loops.unwrap_err().to_string().contains("its own value"));
    let nothing = read_changed("mini_xception_keras2", |model| {
        layer(model, "Add")["inbound_nodes"] = json!([[["gone", 0, 0, {}]]]);
    });
    assert!(nothing.unwrap_err().to_string().contains("no layer `gone`"));
    let shared = read_changed("mini_xception_keras2", |model| {
        let nodes = layer(model, "Conv2D")["inbound_nodes"].as_array_mut().unwrap();
        nodes.push(nodes[0].clone());
    });
    assert!(shared.unwrap_err().to_string().contains("more than once"));
    let two = read_changed("mini_xception_keras2", |model| {
        let outputs = model["config"]["output_layers"].as_array_mut().unwrap();
        outputs.push(outputs[0].clone());
    });
    assert!(two.unwrap_err().to_string().contains("one output"));
}

#[test]
fn inputs_of_no_fixed_size_are_refused() {
    for shape in [json!([null, null, null, 1]), json!([null, 48, 48]), json!([null, 0, 4, 1])] {
        let error = read_changed("mini_xception_keras3", |model| {
            layer(model, "InputLayer")["config"]["batch_shape"] = shape;
        });
        assert!(error.is_err());
    }
}

#[test]
fn a_shared_name_does_not_mix_up_weights() {
    // The weights' own names tell which layer they are of.
    let error = read_changed("vgg_keras3", |model| {
        let layers = model["config"]["layers"].as_array_mut().unwrap();
        let convs = layers.iter().enumerate().filter(|(_, l)| l["class_name"] == "Conv2D");
        let convs: Vec<usize> = convs.map(|(i, _)| i).collect();
        layers.swap(convs[0], convs[1]);
    });
    assert!(error.unwrap_err().to_string().contains("are of a layer"));
}

#[test]
fn what_is_too_large_or_no_model_is_refused() {
    let [description, weights] = parts("vgg_keras3");
    let mut long = description.clone();
    long.resize(9 << 20, b' ');
    let bomb = read("keras", &archive(&long, &weights)).unwrap_err().to_string();
    assert!(bomb.contains("larger than 8 MiB"), "{bomb}");
    let zeros = vec![0; (256 << 20) + 1];
    let bomb = archive(&description, &zeros);
    assert!(bomb.len() < 1 << 20);
    let error = read("keras", &bomb).unwrap_err().to_string();
    assert!(error.contains("larger than 256 MiB"), "{error}");
    let weights_only = read("h5", &weights).unwrap_err().to_string();
    assert!(weights_only.contains("model.save"), "{weights_only}");
    assert!(matches!(read("h5", b""), Err(ImportError::Format { .. })));
    assert!(matches!(import::read(Path::new("none.h5"), None), Err(ImportError::Io { .. })));
    let subclass = read_changed("vgg_keras3", |model| model["class_name"] = json!("MyModel"));
    assert!(subclass.unwrap_err().to_string().contains("MyModel"));
}

#[test]
fn truncated_files_are_refused_or_read() {
    let mut random = fastrand::Rng::with_seed(1);
    for name in ["mixed_keras2", "mixed_keras3"] {
        for suffix in SUFFIXES {
            let bytes = std::fs::read(data(name, suffix)).unwrap();
            for _ in 0..100 {
                let _ = read(suffix, &bytes[..random.usize(..bytes.len())]);
            }
        }
    }
}

#[test]
fn damaged_files_are_refused_or_read() {
    let mut random = fastrand::Rng::with_seed(2);
    let [description, weights] = parts("mixed_keras3");
    let mut damaged = |bytes: &[u8], times: usize| {
        let mut bytes = bytes.to_vec();
        for _ in 0..times {
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
        }
        bytes
    };
    for round in 0..400 {
        let times = 1 + round % 40;
        for name in ["mixed_keras2", "vgg_keras3"] {
            for suffix in SUFFIXES {
                let bytes = std::fs::read(data(name, suffix)).unwrap();
                let _ = read(suffix, &damaged(&bytes, times));
            }
        }
        // Past the archive's checksums.
        let _ = read("keras", &archive(&damaged(&description, times), &weights));
        let _ = read("keras", &archive(&description, &damaged(&weights, times)));
    }
}

/// Puts something else in the place of one of a description's values.
fn forge(value: &mut Value, random: &mut fastrand::Rng) {
    match value {
        Value::Array(values) if !values.is_empty() && random.u8(..) > 4 => {
            let at = random.usize(..values.len());
            forge(&mut values[at], random);
        }
        Value::Object(values) if !values.is_empty() && random.u8(..) > 4 => {
            let at = random.usize(..values.len());
            forge(values.values_mut().nth(at).unwrap(), random);
        }
        value => {
            let others = [
                json!(null),
                json!(-1),
                json!(0),
                json!(1),
                json!(7),
                json!(1 << 16),
                json!(u64::MAX),
                json!(1e300),
                json!(true),
                json!("relu"),
                json!([]),
                json!([1, 1]),
                json!([1 << 16, 1 << 16]),
                json!({}),
            ];
            *value = others[random.usize(..others.len())].clone();
        }
    }
}

#[test]
fn forged_descriptions_are_refused_or_read() {
    let mut random = fastrand::Rng::with_seed(3);
    let mut refused = 0;
    for name in ["mixed_keras2", "mixed_keras3"] {
        let [description, weights] = parts(name);
        let description: Value = serde_json::from_slice(&description).unwrap();
        for _ in 0..500 {
            let mut description = description.clone();
            (0..4).for_each(|_| forge(&mut description, &mut random));
            let forged = archive(description.to_string().as_bytes(), &weights);
            refused += usize::from(read("keras", &forged).is_err());
        }
    }
    assert!(refused > 100, "{refused}");
}
