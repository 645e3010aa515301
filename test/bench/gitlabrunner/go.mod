// A module of its own below gitlab-runner's path: its masker is in an internal package, and none of its dependencies are ours.
module gitlab.com/gitlab-org/gitlab-runner/common/buildlogger/jobwardbench

go 1.26.5

require gitlab.com/gitlab-org/gitlab-runner v1.11.1-0.20260903214710-fc1f1862bd91
