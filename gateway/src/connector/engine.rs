//! The WebAssembly engine: how connectors are compiled and where their instances live.
//!
//! Instances come from a pool of slots that are mapped once; a fresh one costs microseconds. CPU
//! time is metered by epochs: a thread of its own counts them up, and each guest counts those in
//! which it ran. Absent: threads, 64-bit memories, garbage collection, component-model async, WASI.

use std::time::Duration;

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    RegallocAlgorithm,
};

use super::HostError;
use super::limits::{ConnectorLimits, TABLE_ELEMENTS_MAX};

/// The length of one epoch. CPU budgets are counted in these; much shorter ones would wake the
/// process for nothing.
pub(super) const EPOCH: Duration = Duration::from_millis(10);

/// A guest's call stack, bytes.
const WASM_STACK_BYTES: usize = 512 << 10;

/// The stack that guest and host functions share during a call, bytes.
const FIBER_STACK_BYTES: usize = 1 << 20;

/// What stays mapped of a used slot, so that the next instance in it takes no page faults.
const MEMORY_KEEP_BYTES: usize = 1 << 20;
const SMALL_KEEP_BYTES: usize = 64 << 10;

/// Slots beyond the calls under way: freed ones return in batches.
const SLOTS_SPARE: u32 = 16;

/// What one component may be made of. A Rust connector has one memory and a handful of core
/// instances; the interpreters that other languages bring along have two and dozens.
const MEMORIES_PER_CALL: u32 = 2;
const TABLES_PER_CALL: u32 = 8;
const CORE_INSTANCES_PER_CALL: u32 = 60;

/// Makes the engine, with pooled instances where the address space suffices.
pub(super) fn start(limits: &ConnectorLimits) -> Result<Engine, HostError> {
    let engine = Engine::new(&pooled(limits)).or_else(|error| {
        tracing::warn!(
            %error,
            "no room for a pool of connector instances; each call allocates its own, which is \
             slower. Raise the limit on address space or lower gateway.limits.connector.concurrent_calls_max"
        );
        Engine::new(&config())
    });
    let engine = engine.map_err(|error| HostError::Engine(format!("{error:#}")))?;
    tick(&engine)?;
    Ok(engine)
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .epoch_interruption(true)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_regalloc_algorithm(RegallocAlgorithm::Backtracking)
        .generate_address_map(false)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(FIBER_STACK_BYTES)
        // With this much reserved, every 32-bit address lies inside and bounds checks vanish.
        .memory_reservation(4 << 30)
        .memory_guard_size(32 << 20);
    config
}

fn pooled(limits: &ConnectorLimits) -> Config {
    let calls = limits.concurrent_calls_max.saturating_add(SLOTS_SPARE);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(calls)
        .total_stacks(calls)
        .total_core_instances(calls.saturating_mul(CORE_INSTANCES_PER_CALL))
        .total_memories(calls.saturating_mul(MEMORIES_PER_CALL))
        .total_tables(calls.saturating_mul(TABLES_PER_CALL))
        .max_core_instances_per_component(200)
        .max_memories_per_component(4)
        .max_tables_per_component(16)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_memory_size(limits.memory_bytes_max.min(4 << 30))
        .linear_memory_keep_resident(MEMORY_KEEP_BYTES)
        .table_keep_resident(SMALL_KEEP_BYTES)
        .async_stack_keep_resident(SMALL_KEEP_BYTES)
        .pagemap_scan(Enabled::Auto)
        .decommit_batch_size(8);
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// Counts epochs up until the engine is gone. A thread of the operating system: a task would starve
/// exactly when a guest hogs its runtime.
fn tick(engine: &Engine) -> Result<(), HostError> {
    let engine = engine.weak();
    std::thread::Builder::new()
        .name("connector-epochs".to_owned())
        .spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(EPOCH);
            }
        })
        .map(drop)
        .map_err(|error| HostError::Engine(format!("no thread for its clock: {error}")))
}
