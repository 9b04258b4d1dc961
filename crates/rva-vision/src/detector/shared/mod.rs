//! One model for many cameras: pictures of several cameras go into one call of the network.

mod queue;

use super::options::check_class;
use crate::{Detector, ModelDescription, Prepare, Prepared, VisionError, VisionErrorKind};
use queue::{Next, Queue, Request, Slot};
use rva_types::Detection;
use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// The detections that one of several users of a model wants.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// The confidence in [0, 1] that a detection must exceed. Raising it gives fewer and surer detections.
    pub conf: f32,
    /// The class ids to keep; `None` keeps all.
    pub classes: Option<Vec<u32>>,
}

impl Selection {
    /// Refuses a confidence outside [0, 1], an empty list of classes, and one that a model doesn't have.
    pub(super) fn check(&self, class_names: &[String]) -> Result<(), VisionError> {
        let refused = |text: String| Err(VisionError::new(VisionErrorKind::Config, text));
        if !(0.0..=1.0).contains(&self.conf) {
            return refused(format!("found conf {}, wanted a number from 0 to 1", self.conf));
        }
        let Some(classes) = &self.classes else { return Ok(()) };
        if classes.is_empty() {
            return refused("found an empty list of classes, wanted at least one, or none given for all".to_owned());
        }
        let found = classes.iter().try_for_each(|&id| check_class(id, class_names));
        found.or_else(|found| refused(format!("check classes: {found}")))
    }
}

/// A model whose users want different detections. Suppression is done for each by its own selection, so that the
/// result is that of a detector of its own.
pub trait BatchModel: Send {
    /// Returns the facts that the model tells about itself.
    fn description(&self) -> &ModelDescription;

    /// Returns the function that makes preparers, which make network input of pictures.
    fn preparers(&self) -> Preparers;

    /// Returns the number of pictures of each run, where the model fixes it.
    fn batch_fixed(&self) -> Option<usize>;

    /// Returns the detections of each picture by the selection at the same place.
    ///
    /// # Errors
    /// Returns an error where the network failed; the model isn't used again.
    fn infer_selected(
        &mut self,
        batch: &[Prepared],
        selections: &[Selection],
    ) -> Result<Vec<Vec<Detection>>, VisionError>;
}

/// The bounds of the calls of a shared model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOptions {
    /// The most pictures that go into one call. Raising it gives more pictures a second where the device gains from
    /// batches (a GPU), and makes each of them wait for the others.
    pub max_batch: NonZeroUsize,
    /// The longest that a picture waits for others to fill its call. Raising it fills calls better at the price of
    /// latency; 0 takes what is there.
    pub max_wait: Duration,
}

impl Default for BatchOptions {
    /// Returns 8 pictures and 5 ms.
    fn default() -> Self {
        Self { max_batch: const { NonZeroUsize::new(8).unwrap() }, max_wait: Duration::from_millis(5) }
    }
}

/// A function that makes preparers on any thread.
pub type Preparers = Box<dyn Fn() -> Box<dyn Prepare> + Send + Sync>;

/// A model on a thread of its own that any number of [detectors](SharedModel::detector) share. The thread ends when
/// this and all of them are dropped.
pub struct SharedModel(Arc<Owner>);

/// A detector that asks a [`SharedModel`]. Its caller waits for the answer; others don't.
pub struct SharedDetector {
    owner: Arc<Owner>,
    id: u64,
    answered: Arc<Condvar>,
}

/// The owner of the model's thread, which ends when the last user goes.
struct Owner {
    shared: Arc<Shared>,
    description: ModelDescription,
    preparers: Preparers,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    asked: Condvar,
}

struct State {
    queue: Queue,
    slots_made: u64,
    is_closed: bool,
    /// The reason why the model is no longer used.
    failure: Option<(VisionErrorKind, String)>,
}

impl SharedModel {
    /// Starts the model's thread. A model that fixes its pictures of a run below `max_batch` keeps to them.
    ///
    /// # Errors
    /// Returns `Fault` where the thread can't be started.
    pub fn start(mut model: Box<dyn BatchModel>, options: BatchOptions) -> Result<Self, VisionError> {
        let (description, preparers) = (model.description().clone(), model.preparers());
        let max_batch = options.max_batch.get();
        let batch = model.batch_fixed().map_or(max_batch, |fixed| fixed.clamp(1, max_batch));
        if batch < max_batch {
            tracing::info!(
                model = description.name,
                batch,
                max_batch,
                "the model fixes its batch: cameras share it in runs of that size"
            );
        }
        let queue = Queue::new(batch, options.max_wait);
        let state = State { queue, slots_made: 0, is_closed: false, failure: None };
        let shared = Arc::new(Shared { state: Mutex::new(state), asked: Condvar::new() });
        let worker = shared.clone();
        let thread = std::thread::Builder::new()
            .name("rva-model".into())
            .spawn(move || worker.run(&mut *model))
            .map_err(|error| VisionError::new(VisionErrorKind::Fault, format!("start the model's thread: {error}")))?;
        Ok(Self(Arc::new(Owner { shared, description, preparers, thread: Some(thread) })))
    }

    /// Returns the facts that the model tells about itself.
    pub fn description(&self) -> &ModelDescription {
        &self.0.description
    }

    /// Makes a detector for one camera.
    ///
    /// # Errors
    /// Returns `Config` for a confidence outside [0, 1], an empty list of classes, or one that the model doesn't have.
    pub fn detector(&self, selection: Selection) -> Result<SharedDetector, VisionError> {
        selection.check(&self.0.description.class_names)?;
        let answered = Arc::new(Condvar::new());
        let slot = Slot { selection, waiting: VecDeque::new(), done: Vec::new(), answered: answered.clone() };
        let mut state = self.0.shared.lock();
        state.slots_made += 1;
        let id = state.slots_made;
        state.queue.slots.insert(id, slot);
        drop(state);
        Ok(SharedDetector { owner: self.0.clone(), id, answered })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The model runs outside of the lock, so a panic can't have left the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the model's thread.
    fn run(&self, model: &mut dyn BatchModel) {
        while let Some(batch) = self.next_batch() {
            let (ids, rest): (Vec<u64>, Vec<_>) =
                batch.into_iter().map(|(id, selection, picture)| (id, (selection, picture))).unzip();
            let (selections, pictures): (Vec<Selection>, Vec<Prepared>) = rest.into_iter().unzip();
            let found = catch_unwind(AssertUnwindSafe(|| model.infer_selected(&pictures, &selections)))
                .unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
            let found = found.and_then(|found| complete(found, ids.len()));
            let mut state = self.lock();
            match found {
                Ok(found) => {
                    for (id, detections) in ids.into_iter().zip(found) {
                        // Its detector may be gone.
                        if let Some(slot) = state.queue.slots.get_mut(&id) {
                            slot.done.push(detections);
                            slot.answered.notify_all();
                        }
                    }
                }
                Err(error) => {
                    state.failure = Some((error.kind(), error.to_string()));
                    state.queue.slots.values().for_each(|slot| slot.answered.notify_all());
                    return;
                }
            }
        }
    }

    /// Waits for a batch to run; returns `None` when all users are gone.
    fn next_batch(&self) -> Option<Vec<(u64, Selection, Prepared)>> {
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return None;
            }
            let now = Instant::now();
            state = match state.queue.next(now) {
                Next::Run => {
                    let taken = state.queue.take();
                    let selection = |id: &u64| state.queue.slots.get(id).map(|slot| slot.selection.clone());
                    let batch = taken.into_iter();
                    return Some(
                        batch.filter_map(|(id, request)| Some((id, selection(&id)?, request.picture))).collect(),
                    );
                }
                Next::Idle => self.asked.wait(state).unwrap_or_else(PoisonError::into_inner),
                Next::WaitUntil(due) => {
                    let waited = self.asked.wait_timeout(state, due.saturating_duration_since(now));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

fn complete(found: Vec<Vec<Detection>>, wanted: usize) -> Result<Vec<Vec<Detection>>, VisionError> {
    let count = found.len();
    if count == wanted {
        return Ok(found);
    }
    let text = format!("run the shared model: found results for {count} pictures, wanted {wanted}");
    Err(VisionError::new(VisionErrorKind::Fault, text))
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> VisionError {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
    VisionError::new(VisionErrorKind::Fault, format!("run the shared model: it panicked: {text}"))
}

impl Detector for SharedDetector {
    fn description(&self) -> &ModelDescription {
        &self.owner.description
    }

    fn preparer(&self) -> Box<dyn Prepare> {
        (self.owner.preparers)()
    }

    fn infer(&mut self, batch: &[Prepared]) -> Result<Vec<Vec<Detection>>, VisionError> {
        let wanted = self.owner.description.input_size;
        // Told to this camera alone: in the model it would be everybody's failure.
        if let Some(other) = batch.iter().find(|picture| picture.input_size != wanted) {
            let found = other.input_size;
            let text = format!(
                "found a picture prepared for {}x{}, wanted {}x{}",
                found.height, found.width, wanted.height, wanted.width
            );
            return Err(VisionError::new(VisionErrorKind::Config, text));
        }
        let asked_at = Instant::now();
        let requests: VecDeque<_> =
            batch.iter().map(|picture| Request { picture: picture.clone(), asked_at }).collect();
        let mut state = self.owner.shared.lock();
        let lost = || VisionError::new(VisionErrorKind::Fault, "ask the shared model: found no place for this camera");
        state.queue.slots.get_mut(&self.id).ok_or_else(lost)?.waiting = requests;
        self.owner.shared.asked.notify_one();
        loop {
            if let Some((kind, text)) = &state.failure {
                return Err(VisionError::new(*kind, text.clone()));
            }
            let slot = state.queue.slots.get_mut(&self.id).ok_or_else(lost)?;
            if slot.done.len() >= batch.len() {
                return Ok(std::mem::take(&mut slot.done));
            }
            state = self.answered.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for SharedDetector {
    fn drop(&mut self) {
        self.owner.shared.lock().queue.slots.remove(&self.id);
        // The model may be waiting for this one.
        self.owner.shared.asked.notify_one();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.asked.notify_one();
        if let Some(thread) = self.thread.take() {
            // It catches the model's panics, and has none of its own.
            let _ = thread.join();
        }
    }
}
