//! The host's workshop: from labelled pictures to the int8 file a kiosk carries.
//!
//! In the order of use:
//!
//! 1. A [`recipe`] names data and settings; [`dataset`] reads labelled faces, [`mixture`] joins
//!    sources ([`pack`] copies them), [`split`] deals them out so that no [`duplicates`] are on
//!    two sides, [`samples`] makes them fit to learn from, by a [`preprocessing`].
//! 2. [`network`] defines the family; [`checkpoint`] keeps its weights.
//! 3. [`train`] is the loop: [`augment`] → [`executor`] (on [`kernels`]) → [`loss`] →
//!    [`optimizer`], beside labels also from a [`teacher`], which may be trained elsewhere
//!    ([`export`]); [`validation`] scores each epoch,
//!    [`curve`] keeps the scores ([`plot`] draws them), [`offsets`] finish the network.
//!    [`reference`] says plainly what the executor computes, [`device`] has a GPU do it instead.
//!    [`prune`] narrows a trained network.
//! 4. [`float`] is the form of any network, this project's or what [`import`] reads from other
//!    frameworks' files; a [`source`] is one of them with how it is fed and read. [`quantize`] turns
//!    it into integers by looking at [`representative`] pictures, [`tflite`] writes them to a file.
//!    [`listing`] shows either form to people.
//! 5. [`evaluate`] scores both, each a [`candidate`]; [`calibration`] fits how sure their answers
//!    are to be taken, [`card`] writes the figures down. [`page`] is what pages for people share.
//!
//! [`whole`] writes files whole, [`table`] tables among them.
//!
//! [`framing`] measures how data sets frame their faces. [`demo_clip`] draws the bundled clip,
//! out of [`mean_faces`].

pub mod augment;
pub mod calibration;
pub mod candidate;
pub mod card;
pub mod checkpoint;
pub mod curve;
pub mod dataset;
pub mod demo_clip;
pub mod device;
pub mod duplicates;
pub mod evaluate;
pub mod executor;
pub mod export;
pub mod float;
pub mod framing;
pub mod import;
pub mod kernels;
pub mod listing;
pub mod loss;
pub mod mean_faces;
pub mod mixture;
pub mod network;
pub mod offsets;
pub mod optimizer;
pub mod pack;
pub mod page;
pub mod plot;
pub mod preprocessing;
pub mod prune;
pub mod quantize;
pub mod recipe;
pub mod reference;
pub mod representative;
pub mod samples;
pub mod source;
pub mod split;
pub mod table;
pub mod teacher;
pub mod tflite;
pub mod train;
pub mod validation;
pub mod whole;
