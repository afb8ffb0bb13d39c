//! wasmi. A time limit is checked whenever the guest has used up its fuel. So it counts the time of host calls, but interrupts none.

use std::sync::Arc;
use std::time::Instant;

use anyhow::bail;
use wapc::ModuleState;
use wapc::wapc_functions::GUEST_CALL;
use wasmi::{
    CompilationMode, Config, Engine, Linker, Store, StoreLimits, StoreLimitsBuilder, TypedFunc,
    TypedResumableCall, WasmParams, WasmResults,
};

use crate::imports::{Data, Host, Trap};
use crate::{Instance, Interrupted, Limits};

/// Some milliseconds of work.
const FUEL: u64 = 1_000_000;

/// A guest needs a call for each level of a nested document. wasmtime has no limit but the size of the stack.
const RECURSION: usize = 100_000;

impl wasmi::errors::HostError for Trap {}

#[derive(Clone)]
pub(crate) struct Module {
    linker: Linker<Data<StoreLimits>>,
    module: wasmi::Module,
}

impl Module {
    pub(crate) fn load(code: &[u8]) -> anyhow::Result<Self> {
        let mut config = Config::default();
        config.consume_fuel(true).set_max_recursion_depth(RECURSION);
        // What is compiled at its first call takes fuel too, and wasmi does not resume a call that runs out of it there.
        config.compilation_mode(CompilationMode::Eager);
        let engine = Engine::new(&config);
        let mut linker = Linker::new(&engine);
        crate::define_imports!(linker, wasmi, wasmi::Error::host);
        let module = wasmi::Module::new(&engine, code)?;
        Ok(Self { linker, module })
    }
}

impl crate::Module for Module {
    type Instance = Running;

    fn instantiate(&self, host: Arc<ModuleState>, limits: Limits) -> anyhow::Result<Running> {
        let memory = limits.memory.unwrap_or(usize::MAX);
        let data = Data {
            host: Host::new(host, &limits),
            limits: StoreLimitsBuilder::new().memory_size(memory).build(),
        };
        let mut store = Store::new(self.linker.engine(), data);
        store.limiter(|data| &mut data.limits);
        store.set_fuel(u64::MAX)?;
        let instance = self
            .linker
            .instantiate_and_start(&mut store, &self.module)?;
        let guest_call = instance.get_typed_func(&store, GUEST_CALL)?;
        Ok(Running {
            store,
            instance,
            guest_call,
            limits,
        })
    }
}

pub(crate) struct Running {
    store: Store<Data<StoreLimits>>,
    instance: wasmi::Instance,
    guest_call: TypedFunc<(i32, i32), i32>,
    limits: Limits,
}

impl Instance for Running {
    fn start(&mut self, function: &str) -> anyhow::Result<()> {
        if self.instance.get_func(&self.store, function).is_some() {
            let function = self.instance.get_typed_func(&self.store, function)?;
            self.call::<(), ()>(function, ())?;
        }
        Ok(())
    }

    fn guest_call(&mut self, operation_length: i32, payload_length: i32) -> anyhow::Result<i32> {
        self.call(self.guest_call, (operation_length, payload_length))
    }
}

impl Running {
    fn call<P: WasmParams, R: WasmResults>(
        &mut self,
        function: TypedFunc<P, R>,
        parameters: P,
    ) -> anyhow::Result<R> {
        let start = Instant::now();
        let in_time = || {
            self.limits
                .time
                .is_none_or(|limit| start.elapsed() <= limit)
        };
        self.store.set_fuel(FUEL)?;
        let mut call = function.call_resumable(&mut self.store, parameters)?;
        loop {
            call = match call {
                TypedResumableCall::Finished(result) => return Ok(result),
                TypedResumableCall::OutOfFuel(call) if in_time() => {
                    self.store.set_fuel(FUEL.max(call.required_fuel()))?;
                    call.resume(&mut self.store)?
                }
                TypedResumableCall::OutOfFuel(_) => return Err(Interrupted.into()),
                TypedResumableCall::HostTrap(trap) => bail!("{}", trap.host_error()),
            };
        }
    }
}
