def log = new File(basedir, 'build.log').text
assert log.contains("making 'typed' for " + basedir)
assert log.count("making 'typed'") == 1
assert log =~ /INNER \[-B\] \[test\] in typed of typed/
assert log =~ /line for sh: 42 typed/
// what the second call's command left is told by the third, and an extension that it loads, each once
assert log.count('changed since the last lima:exec here') == 1
assert log =~ /before this goal: \.mvn\/jvm\.config, build extension dev\.limasandbox:lima-maven-plugin:/
assert log =~ /INNER \[-P\] \[fast\] \[-o\] \[-fae\] \[-B\] \[-Dforwarded=x\] \[-Da=b c\] \[verify\]/
assert log.contains('properties that stay out: kept.back')
assert log =~ /mvnw .*fail:fail' exited with status 3 in the sandbox -> \[Help 1\][\s\S]*?MojoFailureException/
assert log.contains('would be this computer\'s value')
assert log =~ /\[INFO\] INNER .*\[verify\] in typed of typed/
assert log.count('skipped (lima.skip)') == 8
assert !log.contains('[skipped:skipped]')
assert log.contains('there is no terminal for a shell')
assert log =~ /typed +Running/
assert log.contains('kept')
assert log.contains('typed is stopped')
assert log.contains('lima:rollback')
assert log =~ /typed is stopped[\s\S]*its own repository is kept/
['3.8.8', '4.0.0-rc-6'].each {
    assert log =~ "Apache Maven $it[\\s\\S]*?INNER \\[-B\\] \\[-T\\] \\[1\\] \\[package\\] in typed of typed"
}
assert log.contains('-Dlima.yes')
assert log.contains('typed is deleted')
assert log =~ /could not be made or started, see above.*\n[\s\S]*?MojoExecutionException/
assert log.contains('Lima has to be installed first')
return true
