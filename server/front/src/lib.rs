//! `crossrun_front`: calls of gRPC clients for Python, and Python's answers for them.
//!
//! The boundary between Python and `transport`, and no more.

mod boundary;
mod time_slice;

use pyo3::prelude::*;

/// Changes with whatever Python must do differently.
const INTERFACE: u32 = 3;

/// The native front end of crossrun.
#[pymodule]
fn crossrun_front(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("INTERFACE", INTERFACE)?;
    module.add_function(wrap_pyfunction!(boundary::yield_to_network, module)?)?;
    module.add_class::<boundary::Front>()?;
    module.add_class::<boundary::Tls>()?;
    module.add_class::<boundary::Call>()?;
    module.add_class::<boundary::Message>()?;
    Ok(())
}
