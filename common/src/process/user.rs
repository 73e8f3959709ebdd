//! Who the process becomes after it has bound its ports as root.
//!
//! Names are resolved first, so that an unknown user is told before anything is bound and nothing is read from /etc
//! later; [`Identity::assume`] comes after binding and before the first worker starts.

use std::ffi::CString;

use nix::errno::Errno;
use nix::unistd::{self, Gid, Group, Uid, User};

/// A user, a group, and the user's other groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
    /// Supplementary groups, `gid` among them.
    groups: Vec<Gid>,
}

/// Why the process cannot become somebody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// No such user.
    #[error("there is no user named \"{0}\"")]
    UnknownUser(String),
    /// No such group.
    #[error("there is no group named \"{0}\"")]
    UnknownGroup(String),
    /// A number without an entry in the user database says nothing about its group.
    #[error("user {0} is not in the user database, so its group must be configured too")]
    GroupNeeded(u32),
    /// Only root can become somebody else.
    #[error("only root can become another user (this process has uid {uid}); start it as root or leave the user out")]
    NotRoot {
        /// Who we are.
        uid: u32,
    },
    /// The system refused.
    #[error("{step}: {errno}")]
    System {
        /// What was being done.
        step: &'static str,
        /// What the system said.
        errno: Errno,
    },
}

impl UserError {
    /// The exit code of a process that ends because of this (sysexits.h).
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::UnknownUser(_) | Self::UnknownGroup(_) | Self::GroupNeeded(_) => 67, // EX_NOUSER
            Self::NotRoot { .. } => 77,                                                // EX_NOPERM
            Self::System { .. } => 71,                                                 // EX_OSERR
        }
    }
}

/// Looks a user up, by name or number; its group is `group`, or the user's own when that is absent.
///
/// # Errors
/// One of them does not exist, or the database could not be read.
pub fn resolve(user: &str, group: Option<&str>) -> Result<Identity, UserError> {
    let entry = find_user(user)?;
    let uid = match (&entry, user.parse()) {
        (Some(entry), _) => entry.uid,
        (None, Ok(number)) => Uid::from_raw(number),
        (None, Err(_)) => return Err(UserError::UnknownUser(user.to_owned())),
    };
    let gid = match (group, &entry) {
        (Some(group), _) => find_group(group)?,
        (None, Some(entry)) => entry.gid,
        (None, None) => return Err(UserError::GroupNeeded(uid.as_raw())),
    };
    let groups = match entry.and_then(|entry| CString::new(entry.name).ok()) {
        Some(name) => unistd::getgrouplist(&name, gid).map_err(failed("getgrouplist"))?,
        None => vec![gid],
    };
    Ok(Identity {
        uid: uid.as_raw(),
        gid: gid.as_raw(),
        groups,
    })
}

impl Identity {
    /// Becomes this user and group for good. Does nothing when the process is this already.
    ///
    /// # Errors
    /// The process is not root, or the system refused; it must end then, it may be half changed.
    pub fn assume(&self) -> Result<(), UserError> {
        let uid = unistd::geteuid();
        if !uid.is_root() {
            let is_already = uid.as_raw() == self.uid && unistd::getegid().as_raw() == self.gid;
            return if is_already {
                Ok(())
            } else {
                Err(UserError::NotRoot { uid: uid.as_raw() })
            };
        }
        // In this order: after setuid() the others are not permitted any more.
        unistd::setgroups(&self.groups).map_err(failed("setgroups"))?;
        unistd::setgid(Gid::from_raw(self.gid)).map_err(failed("setgid"))?;
        unistd::setuid(Uid::from_raw(self.uid)).map_err(failed("setuid"))
    }
}

/// The entry of a user, first by name, then by number.
fn find_user(user: &str) -> Result<Option<User>, UserError> {
    match User::from_name(user).map_err(failed("getpwnam"))? {
        Some(entry) => Ok(Some(entry)),
        None => match user.parse() {
            Ok(number) => User::from_uid(Uid::from_raw(number)).map_err(failed("getpwuid")),
            Err(_) => Ok(None),
        },
    }
}

/// A group's id, by name or number.
fn find_group(group: &str) -> Result<Gid, UserError> {
    match Group::from_name(group).map_err(failed("getgrnam"))? {
        Some(entry) => Ok(entry.gid),
        None => match group.parse() {
            Ok(number) => Ok(Gid::from_raw(number)),
            Err(_) => Err(UserError::UnknownGroup(group.to_owned())),
        },
    }
}

fn failed(step: &'static str) -> impl Fn(Errno) -> UserError {
    move |errno| UserError::System { step, errno }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::own_process::in_own_process;

    #[test]
    fn users_and_groups_are_found_by_name_and_by_number() {
        for (user, group, expected) in [
            ("root", None, Ok((0, 0))),
            ("0", None, Ok((0, 0))),
            ("root", Some("12345"), Ok((0, 12345))),
            ("4242424", Some("root"), Ok((4_242_424, 0))),
            ("4242424", None, Err(UserError::GroupNeeded(4_242_424))),
            (
                "no-such-user",
                None,
                Err(UserError::UnknownUser("no-such-user".to_owned())),
            ),
            ("-1", None, Err(UserError::UnknownUser("-1".to_owned()))),
            (
                "root",
                Some("no-such-group"),
                Err(UserError::UnknownGroup("no-such-group".to_owned())),
            ),
        ] {
            let found = resolve(user, group).map(|identity| (identity.uid, identity.gid));
            assert_eq!(found, expected, "{user} {group:?}");
        }
    }

    #[test]
    fn a_supplementary_group_list_always_has_the_group() {
        let identity = resolve("root", Some("12345")).unwrap();
        assert!(identity.groups.contains(&Gid::from_raw(12345)));
        let nameless = resolve("4242424", Some("12345")).unwrap();
        assert_eq!(nameless.groups, [Gid::from_raw(12345)]);
    }

    #[test]
    fn root_becomes_another_user_for_good() {
        if !unistd::geteuid().is_root() {
            println!("skipped: only root can become another user");
            return;
        }
        if !in_own_process("process::user::tests::root_becomes_another_user_for_good", None) {
            return;
        }
        let nobody = resolve("4242424", Some("4242425")).unwrap();
        nobody.assume().unwrap();
        let ids = unistd::getresuid().unwrap();
        assert_eq!([ids.real, ids.effective, ids.saved], [Uid::from_raw(4_242_424); 3]);
        let ids = unistd::getresgid().unwrap();
        assert_eq!([ids.real, ids.effective, ids.saved], [Gid::from_raw(4_242_425); 3]);
        assert_eq!(unistd::getgroups().unwrap(), [Gid::from_raw(4_242_425)]);
        assert_eq!(nobody.assume(), Ok(()), "it is this user already");
        let root = resolve("root", None).unwrap();
        let refused = root.assume().unwrap_err();
        assert_eq!(refused, UserError::NotRoot { uid: 4_242_424 });
        assert_eq!(refused.exit_code(), 77);
    }
}
