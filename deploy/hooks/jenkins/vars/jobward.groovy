// Step of a shared library, for scripts instead of single commands:
//
//   jobward('deploy') { '''
//     ./build.sh
//     ./deploy.sh
//   ''' }
//
// The name of the step is used once in a build. The script goes through a file, so that no quoting of it can go wrong.
def call(String step, Closure script) {
  if (!(step ==~ /[A-Za-z0-9_.-]+/)) {
    error "jobward: the name of a step has letters, digits, dots, dashes and underscores only"
  }
  def file = ".jobward-${step}.sh"
  writeFile file: file, text: script()
  sh "/opt/jobward/jenkins/jobward-sh ${step} sh -e ${file}"
}
