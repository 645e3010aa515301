// Package scenario reads scenario files: small worlds, each with one job, one
// question and the answer that it has to have (SEMANTICS §1). They are the corpus
// that every door of the system has to agree on, and what `pdpctl test` runs. The
// same world, alone, with ids, is what `pdpctl world` exports and imports.
//
// A file is JSON lines, or a YAML stream of the same objects. [Read] goes through
// one; [Run] asks policy in process; [Scenario.Records] gives the records to load
// into a store and the question to ask.
//
// What may be left out, and what it means then:
//
//	world.instance     enforce_inbound false, anyone_can_pull true, public_scope exempt
//	world.groups[]     parent: the path without its last segment; visibility private; state active
//	world.projects[]   visibility private, inbound_enabled true, public_builds true, features enabled,
//	                   state active, everything else off or empty
//	world.users        everybody whom members or the job name, active. If there is a list, it
//	                   is complete: a job's user who is not on it does not exist
//	job                user dev, state running, not erased, token valid
//	request.surface    the one that the permission belongs to
//
// Groups have to be listed. A project whose path is one segment and a name, with a
// segment that is no group, is in a personal namespace. A job's project that is not
// listed is one that was deleted; a target that is not listed does not exist. Lists
// and memberships may only name what is there, so that a slip of the pen does not
// turn into a denial.
//
// Fields beyond SEMANTICS §1: expect_reason; world.catalogue (the document that
// [policy.Extend] reads); instance.max_project_entries and max_group_entries;
// groups[].state; projects[].hidden and read_only; projects[].killed and
// users[].killed (the project was being deleted, the user was blocked, after the job's
// token was issued, which is dead for good although they are back); entries'
// autopopulated; job.limits with permissions and targets (project and group paths);
// job.heartbeat: none, beating, overdue (the term is over and nobody has noted it
// yet), lapsed; job.token replaced, and none for an anonymous visitor, with nothing else
// about a job; id of groups, projects and users.
package scenario
