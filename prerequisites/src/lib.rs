//! Nothing at run time. The build script looks for the libraries and the compiler that a build needs of the host, and says how to install
//! what is missing: without it, the linker would say so at the end.
#![forbid(unsafe_code)]
