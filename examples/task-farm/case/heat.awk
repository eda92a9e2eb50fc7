# Explicit finite differences for the heat equation u_t = alpha * u_xx on a rod.
# Usage: awk -v alpha=0.2 -f heat.awk rod.txt    (rod.txt: one start temperature a line)
# Writes the temperatures after `steps` steps to result.txt and the heat that is left to stdout.
# Exits with 3 where the time step is too large for the diffusivity (alpha > 0.5 is unstable).
{ u[n++] = $1 }
END {
  if (n < 3) { print "the rod needs at least 3 points, got " n > "/dev/stderr"; exit 2 }
  if (alpha > 0.5) { print "unstable: alpha = " alpha " is above 0.5" > "/dev/stderr"; exit 3 }
  if (steps == 0) steps = 200
  for (step = 0; step < steps; step++) {
    left = u[0]
    for (i = 1; i < n - 1; i++) {
      here = u[i]
      u[i] = here + alpha * (left - 2 * here + u[i + 1])
      left = here
    }
  }
  for (i = 0; i < n; i++) { printf "%.6f\n", u[i] > "result.txt"; heat += u[i] }
  printf "alpha=%s heat=%.3f\n", alpha, heat
}
