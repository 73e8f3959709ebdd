//! Which files may be opened, made and removed (landlock(7)); ports may not be bound, other processes not be signalled.
//!
//! What the kernel does not know of yet is left out: the first version (5.13) has all about files but truncation.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, LandlockStatus, NetPort, PathBeneath,
    PathFd, Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};

use super::{FileAccess, State, capabilities};

/// Restricts the calling thread.
///
/// # Errors
/// Why it cannot be had.
pub(super) fn restrict(access: &FileAccess) -> Result<State, String> {
    capabilities::no_new_privileges()?;
    let status = rules(access)
        .and_then(RulesetCreated::restrict_self)
        .map_err(|error| error.to_string())?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, LandlockStatus::NotEnabled) => Err("landlock is switched off".to_owned()),
        (RulesetStatus::NotEnforced, _) => Err("the kernel has no landlock (Linux 5.13)".to_owned()),
        (
            _,
            LandlockStatus::Available {
                effective_abi,
                kernel_abi,
            },
        ) => Ok(State::OnAbi(kernel_abi.unwrap_or(effective_abi as i32))),
        _ => Ok(State::On),
    }
}

fn rules(access: &FileAccess) -> Result<RulesetCreated, RulesetError> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::from_all(KNOWN))?
        .create()?
        // The kernel's choice: connections to servers from a configured address.
        .add_rule(NetPort::new(0, AccessNet::BindTcp))?;
    let write = AccessFs::WriteFile | AccessFs::MakeReg | AccessFs::Truncate;
    for (paths, rights) in [
        (&access.read, AccessFs::ReadFile | AccessFs::ReadDir),
        (&access.write, write),
        (&access.remove, AccessFs::RemoveFile.into()),
    ] {
        rules = allow(rules, paths, rights)?;
    }
    Ok(rules)
}

/// A path that is not there, or that we may not reach, needs no rule.
fn allow(
    mut rules: RulesetCreated,
    paths: &[std::path::PathBuf],
    rights: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    for path in paths {
        let Ok(opened) = PathFd::new(path) else { continue };
        // Of a file that is none of a directory only these can be had.
        let rights = if path.is_dir() {
            rights
        } else {
            rights & AccessFs::from_file(KNOWN)
        };
        rules = rules.add_rule(PathBeneath::new(opened, rights))?;
    }
    Ok(rules)
}

/// Linux 6.12: ports, devices, signals.
const KNOWN: ABI = ABI::V6;
