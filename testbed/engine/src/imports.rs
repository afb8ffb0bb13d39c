//! What a guest can import: the functions of waPC, and those of WASI that Rust's standard library needs in a policy.
//! There are no files, environment variables or arguments.

use std::io::{Write as _, stderr, stdout};
use std::ops::Deref;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use wapc::ModuleState;

use crate::Limits;

/// Why an import stops the guest.
#[derive(Debug, thiserror::Error)]
pub enum Trap {
    #[error("the guest exports no memory")]
    NoMemory,
    #[error("the guest names a place outside of its memory")]
    OutOfBounds,
    #[error("the guest names something with a text that is not UTF-8")]
    NotText,
    #[error("the guest exits with code {0}")]
    Exit(i32),
    #[error("the host has no random numbers: {0}")]
    NoRandom(getrandom::Error),
}

/// The data of a store of the engine.
pub struct Data<L> {
    pub host: Host,
    pub limits: L,
}

/// What the imports need to know.
pub struct Host {
    state: Arc<ModuleState>,
    /// Whether time goes on for the guest. It does not without a time limit: the policy gives up its look-ups in time, and its answers shall be
    /// the same on a slow machine.
    has_time: bool,
}

impl Host {
    pub fn new(state: Arc<ModuleState>, limits: &Limits) -> Self {
        let has_time = limits.time.is_some();
        Self { state, has_time }
    }
}

impl Deref for Host {
    type Target = ModuleState;

    fn deref(&self) -> &ModuleState {
        &self.state
    }
}

type Result<T> = std::result::Result<T, Trap>;

/// Defines the imports in a linker. The crates `wasmi` and `wasmtime` have the same API for this, but no trait.
/// `$error` turns a [`Trap`] into an error of the engine.
#[macro_export]
macro_rules! define_imports {
    ($linker:ident, $engine:ident, $error:expr) => {
        $crate::define_imports! { $linker, $engine, $error,
            "wapc" {
                __guest_error(text: i32, length: i32) -> ();
                __guest_request(operation: i32, payload: i32) -> ();
                __guest_response(answer: i32, length: i32) -> ();
                __host_call(
                    binding: i32, binding_length: i32, namespace: i32, namespace_length: i32,
                    operation: i32, operation_length: i32, payload: i32, payload_length: i32
                ) -> i32;
                __host_error(place: i32) -> ();
                __host_error_len() -> i32;
                __host_response(place: i32) -> ();
                __host_response_len() -> i32;
            }
            "wasi_snapshot_preview1" {
                clock_time_get(clock: i32, precision: i64, place: i32) -> i32;
                environ_get(variables: i32, texts: i32) -> i32;
                environ_sizes_get(count: i32, size: i32) -> i32;
                fd_write(file: i32, parts: i32, count: i32, written: i32) -> i32;
                proc_exit(code: i32) -> ();
                random_get(place: i32, length: i32) -> i32;
            }
        }
    };
    ($linker:ident, $engine:ident, $error:expr,
     $($module:literal {$($function:ident($($argument:ident: $type:ty),*) -> $result:ty;)*})*) => {
        $($($linker.func_wrap(
            $module,
            stringify!($function),
            |mut caller: $engine::Caller<'_, $crate::imports::Data<$engine::StoreLimits>>, $($argument: $type),*| -> Result<$result, $engine::Error> {
                let memory = caller.get_export("memory").and_then($engine::Extern::into_memory);
                let memory = memory.ok_or($crate::imports::Trap::NoMemory).map_err($error)?;
                let (memory, data) = memory.data_and_store_mut(&mut caller);
                $crate::imports::$function(&data.host, $crate::imports::Memory(memory), $($argument),*).map_err($error)
            },
        )?;)*)*
    };
}

/// The memory of a guest. Addresses and lengths are unsigned, in spite of their type.
pub struct Memory<'a>(pub &'a mut [u8]);

impl Memory<'_> {
    fn get(&self, place: i32, length: i32) -> Result<&[u8]> {
        let place = place.cast_unsigned() as usize;
        let end = place + length.cast_unsigned() as usize;
        self.0.get(place..end).ok_or(Trap::OutOfBounds)
    }

    fn text(&self, place: i32, length: i32) -> Result<&str> {
        str::from_utf8(self.get(place, length)?).map_err(|_| Trap::NotText)
    }

    fn part(&mut self, place: i32, length: usize) -> Result<&mut [u8]> {
        let place = place.cast_unsigned() as usize;
        self.0
            .get_mut(place..place + length)
            .ok_or(Trap::OutOfBounds)
    }

    fn put(&mut self, place: i32, bytes: &[u8]) -> Result<()> {
        self.part(place, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }
}

// waPC: <https://wapc.io/docs/spec/>

pub fn __guest_error(host: &Host, memory: Memory<'_>, text: i32, length: i32) -> Result<()> {
    host.set_guest_error(memory.text(text, length)?.to_owned());
    Ok(())
}

pub fn __guest_request(
    host: &Host,
    mut memory: Memory<'_>,
    operation: i32,
    payload: i32,
) -> Result<()> {
    if let Some(request) = host.get_guest_request() {
        memory.put(operation, request.operation.as_bytes())?;
        memory.put(payload, &request.msg)?;
    }
    Ok(())
}

pub fn __guest_response(host: &Host, memory: Memory<'_>, answer: i32, length: i32) -> Result<()> {
    host.set_guest_response(memory.get(answer, length)?.to_vec());
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "waPC has them")]
pub fn __host_call(
    host: &Host,
    memory: Memory<'_>,
    binding: i32,
    binding_length: i32,
    namespace: i32,
    namespace_length: i32,
    operation: i32,
    operation_length: i32,
    payload: i32,
    payload_length: i32,
) -> Result<i32> {
    let answered = host.do_host_call(
        memory.text(binding, binding_length)?,
        memory.text(namespace, namespace_length)?,
        memory.text(operation, operation_length)?,
        memory.get(payload, payload_length)?,
    );
    Ok(answered.unwrap_or(0))
}

pub fn __host_error(host: &Host, mut memory: Memory<'_>, place: i32) -> Result<()> {
    memory.put(place, host.get_host_error().unwrap_or_default().as_bytes())
}

pub fn __host_error_len(host: &Host, _: Memory<'_>) -> Result<i32> {
    Ok(host.get_host_error().unwrap_or_default().len() as i32)
}

pub fn __host_response(host: &Host, mut memory: Memory<'_>, place: i32) -> Result<()> {
    host.with_host_response(|answer| memory.put(place, answer))
        .unwrap_or(Ok(()))
}

pub fn __host_response_len(host: &Host, _: Memory<'_>) -> Result<i32> {
    Ok(host.host_response_len() as i32)
}

// WASI preview 1: <https://github.com/WebAssembly/WASI/blob/wasi-0.1/preview1/docs.md>

const SUCCESS: i32 = 0;
/// The file is not open.
const BADF: i32 = 8;
const INVAL: i32 = 28;

pub fn clock_time_get(
    host: &Host,
    mut memory: Memory<'_>,
    clock: i32,
    _precision: i64,
    place: i32,
) -> Result<i32> {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let time = match clock {
        0 | 1 if !host.has_time => Duration::ZERO,
        0 => SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default(),
        1 => START.elapsed(),
        _ => return Ok(INVAL),
    };
    memory.put(place, &(time.as_nanos() as u64).to_le_bytes())?;
    Ok(SUCCESS)
}

pub fn environ_get(_: &Host, _: Memory<'_>, _variables: i32, _texts: i32) -> Result<i32> {
    Ok(SUCCESS)
}

pub fn environ_sizes_get(_: &Host, mut memory: Memory<'_>, count: i32, size: i32) -> Result<i32> {
    memory.put(count, &[0; 4])?;
    memory.put(size, &[0; 4])?;
    Ok(SUCCESS)
}

/// The text of a panic is written here.
pub fn fd_write(
    _: &Host,
    mut memory: Memory<'_>,
    file: i32,
    parts: i32,
    count: i32,
    written: i32,
) -> Result<i32> {
    let mut text = Vec::new();
    let (parts, _) = memory.get(parts, count.wrapping_mul(8))?.as_chunks::<8>();
    for part in parts {
        let [a, b, c, d, rest @ ..] = *part;
        text.extend_from_slice(
            memory.get(i32::from_le_bytes([a, b, c, d]), i32::from_le_bytes(rest))?,
        );
    }
    let result = match file {
        1 => stdout().write_all(&text),
        2 => stderr().write_all(&text),
        _ => return Ok(BADF),
    };
    // As for a closed terminal: not a reason to stop the guest.
    let _ = result;
    memory.put(written, &(text.len() as u32).to_le_bytes())?;
    Ok(SUCCESS)
}

pub fn proc_exit(_: &Host, _: Memory<'_>, code: i32) -> Result<()> {
    Err(Trap::Exit(code))
}

pub fn random_get(_: &Host, mut memory: Memory<'_>, place: i32, length: i32) -> Result<i32> {
    let bytes = memory.part(place, length.cast_unsigned() as usize)?;
    getrandom::fill(bytes).map_err(Trap::NoRandom)?;
    Ok(SUCCESS)
}
