//! Runs waPC guests in wasmtime, the engine of policy-server: a compiler.

mod clock;

use std::sync::Arc;

use testbed_engine::imports::{Data, Host};
use testbed_engine::{Guests, Instance, Interrupted, Limits, define_imports};
use wapc::ModuleState;
use wapc::wapc_functions::GUEST_CALL;
use wasmtime::{
    Config, Engine, InstancePre, Linker, Store, StoreLimits, StoreLimitsBuilder, Trap, TypedFunc,
    WasmParams, WasmResults,
};

use crate::clock::Clock;

/// A [`testbed_engine::Engine`] that compiles the code. Time limits are those of policy-server.
///
/// # Errors
///
/// When the code is not WebAssembly, or imports something else than [`testbed_engine::imports`].
pub fn wasmtime(code: &[u8]) -> anyhow::Result<Guests> {
    Ok(Guests::of(Module::load(code)?))
}

#[derive(Clone)]
struct Module {
    instance: InstancePre<Data<StoreLimits>>,
    clock: Clock,
}

impl Module {
    fn load(code: &[u8]) -> anyhow::Result<Self> {
        // Also without a time limit, so that the same code runs and is measured everywhere.
        let mut config = Config::default();
        config.epoch_interruption(true);
        let engine = Engine::new(&config)?;
        let mut linker = Linker::new(&engine);
        define_imports!(linker, wasmtime, wasmtime::Error::new);
        let module = wasmtime::Module::new(&engine, code)?;
        Ok(Self {
            instance: linker.instantiate_pre(&module)?,
            clock: Clock::new(engine),
        })
    }
}

impl testbed_engine::Module for Module {
    type Instance = Running;

    fn instantiate(&self, host: Arc<ModuleState>, limits: Limits) -> anyhow::Result<Running> {
        let memory = limits.memory.unwrap_or(usize::MAX);
        let data = Data {
            host: Host::new(host, &limits),
            limits: StoreLimitsBuilder::new().memory_size(memory).build(),
        };
        let mut store = Store::new(self.instance.module().engine(), data);
        store.limiter(|data| &mut data.limits);
        let ticks = match limits.time {
            Some(limit) => {
                self.clock.start();
                clock::ticks(limit)
            }
            None => clock::FOREVER,
        };
        store.set_epoch_deadline(ticks);
        let instance = self.instance.instantiate(&mut store)?;
        let guest_call = instance.get_typed_func(&mut store, GUEST_CALL)?;
        Ok(Running {
            store,
            instance,
            guest_call,
            ticks,
        })
    }
}

struct Running {
    store: Store<Data<StoreLimits>>,
    instance: wasmtime::Instance,
    guest_call: TypedFunc<(i32, i32), i32>,
    ticks: u64,
}

impl Instance for Running {
    fn start(&mut self, function: &str) -> anyhow::Result<()> {
        if self.instance.get_func(&mut self.store, function).is_some() {
            let function = self.instance.get_typed_func(&mut self.store, function)?;
            self.call::<(), ()>(&function, ())?;
        }
        Ok(())
    }

    fn guest_call(&mut self, operation_length: i32, payload_length: i32) -> anyhow::Result<i32> {
        let function = self.guest_call.clone();
        self.call(&function, (operation_length, payload_length))
    }
}

impl Running {
    fn call<P: WasmParams, R: WasmResults>(
        &mut self,
        function: &TypedFunc<P, R>,
        parameters: P,
    ) -> anyhow::Result<R> {
        self.store.set_epoch_deadline(self.ticks);
        let called = function.call(&mut self.store, parameters);
        called.map_err(|error| match error.downcast_ref() {
            Some(Trap::Interrupt) => Interrupted.into(),
            _ => error.into(),
        })
    }
}
