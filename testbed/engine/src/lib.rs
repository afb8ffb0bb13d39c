//! Runs waPC guests. This is what every engine has in common, and the first one: wasmi, an interpreter. It is built in little time and
//! loads a policy at once. `testbed-wasmtime` has the engine of policy-server, a compiler; an evaluation takes it about a tenth of the time.
//!
//! ```text
//! WapcHost ── init, call ──> Guest ── start, guest_call ──> Instance, in wasmi or wasmtime
//!                                                              │ imports: waPC and WASI
//!                                                              v
//!                                                         ModuleState ── host calls ──> the callback of WapcHost
//! ```
//!
//! The engines give the same answers.

pub mod imports;
mod wasmi;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use wapc::wapc_functions::REQUIRED_STARTS;
use wapc::{ModuleState, WebAssemblyEngineProvider};

/// Loads the code of a guest, which is slow if it compiles it: [`wasmi`], or `testbed_wasmtime::wasmtime`.
pub type Engine = fn(&[u8]) -> anyhow::Result<Guests>;

/// An [`Engine`] that interprets the code.
///
/// # Errors
///
/// When the code is not WebAssembly, or imports something else than [`imports`].
pub fn wasmi(code: &[u8]) -> anyhow::Result<Guests> {
    Ok(Guests::of(wasmi::Module::load(code)?))
}

/// Loaded code. Clones share it. Each guest is a new instance.
#[derive(Clone)]
pub struct Guests(Arc<dyn Fn(Limits) -> Box<dyn WebAssemblyEngineProvider> + Send + Sync>);

impl Guests {
    pub fn of(module: impl Module) -> Self {
        Self(Arc::new(move |limits| {
            Box::new(Guest {
                module: module.clone(),
                limits,
                instance: None,
            })
        }))
    }

    /// A guest for a [`WapcHost`](wapc::WapcHost), which starts it.
    pub fn guest(&self, limits: Limits) -> Box<dyn WebAssemblyEngineProvider> {
        (self.0)(limits)
    }
}

/// What a guest may use. By default, there are no limits.
#[derive(Clone, Copy, Default)]
pub struct Limits {
    /// The bytes of its memory.
    pub memory: Option<usize>,
    /// For each function of it that is called.
    pub time: Option<Duration>,
}

/// A function exceeded the time limit. policy-server recognises it by its text.
#[derive(Debug, thiserror::Error)]
#[error("guest code interrupted, execution deadline exceeded")]
pub struct Interrupted;

/// Loaded code, in one of the engines. Clones share the code.
pub trait Module: Clone + Send + Sync + Sized + 'static {
    type Instance: Instance + 'static;

    /// A new instance, before any of its functions is called.
    ///
    /// # Errors
    ///
    /// When it needs more than the limits, or does not export what waPC calls.
    fn instantiate(&self, host: Arc<ModuleState>, limits: Limits)
    -> anyhow::Result<Self::Instance>;
}

/// Calls fail with [`Interrupted`] if they exceed the time limit.
pub trait Instance {
    /// Calls a function without parameters, if the module exports it.
    ///
    /// # Errors
    ///
    /// When it traps, or takes too long.
    fn start(&mut self, function: &str) -> anyhow::Result<()>;

    /// Calls the function of waPC, which returns whether it succeeded.
    ///
    /// # Errors
    ///
    /// When it traps, or takes too long.
    fn guest_call(&mut self, operation_length: i32, payload_length: i32) -> anyhow::Result<i32>;
}

struct Guest<M: Module> {
    module: M,
    limits: Limits,
    instance: Option<M::Instance>,
}

impl<M: Module> WebAssemblyEngineProvider for Guest<M> {
    fn init(&mut self, host: Arc<ModuleState>) -> Result<(), Box<dyn Error + Send + Sync>> {
        let mut instance = self.module.instantiate(host, self.limits)?;
        for function in REQUIRED_STARTS {
            instance.start(function)?;
        }
        self.instance = Some(instance);
        Ok(())
    }

    fn call(
        &mut self,
        operation_length: i32,
        payload_length: i32,
    ) -> Result<i32, Box<dyn Error + Send + Sync>> {
        let instance = self
            .instance
            .as_mut()
            .context("the guest was not started")?;
        Ok(instance.guest_call(operation_length, payload_length)?)
    }

    fn replace(&mut self, _code: &[u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        Err("the code of a guest cannot be replaced".into())
    }
}
