//! Numbers that the user can choose with environment variables.

use std::env;
use std::str::FromStr;

use anyhow::{Context, Result};

/// The number in an environment variable, or the default if there is no such variable.
///
/// # Errors
/// The variable is not a number.
pub fn from_environment<T: FromStr>(variable: &str, default: T) -> Result<T> {
    match env::var(variable) {
        Err(_) => Ok(default),
        Ok(text) => {
            let value = text.parse().ok();
            value.with_context(|| format!("{variable}={text} is not a number"))
        }
    }
}
