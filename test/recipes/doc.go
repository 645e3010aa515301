// Package recipes runs what deploy/ tells people to copy, from the very files, with the real programs: nginx, git, Caddy, curl, Traefik, Gitea. The PDP
// and the sidecar are processes of their own on the sample world.
//
// A recipe is changed in nothing but what its reader has to change: addresses, names and folders. What is missing on a machine is skipped, and is a
// failure under .ci/run, but for Traefik and Gitea, which no Debian package has.
package recipes
