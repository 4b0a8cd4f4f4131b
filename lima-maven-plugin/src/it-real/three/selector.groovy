// A slow run leaves it out, and says so: the whole of the tests has 90 minutes.
long now = System.currentTimeMillis().intdiv(1000)
long minutes = (now - Long.parseLong(System.getenv('SANDBOX_TESTS_BEGAN') ?: "$now")).intdiv(60)
if (minutes >= 70) {
    println "no time left for it in this run, which began $minutes minutes ago"
}
return minutes < 70
