def log = new File(basedir, 'build.log').text
def repository = System.getenv('HOME') + '/.m2/repository'
def newer = (log =~ /copying Maven (3\.9\.\d+) into it/)[0][1]
[newer, '3.8.8'].each {
    assert log.count("copying Maven $it into it") == 1
    assert log =~ "Apache Maven $it[\\s\\S]{0,200}Maven home: /usr/local/lib/sandbox/maven-$it\n"
}
assert log.contains("\n/usr/local/lib/sandbox/maven-$newer/bin/mvn\n")
assert log =~ /\n\/.*\/bin\/javac\n/
assert log.contains('resources:3.5.0:resources (default-cli) @ inner')
assert log.contains("<maven.repo.local.tail>$repository</maven.repo.local.tail>")
assert log.contains('<mirrorOf>no-such-repository</mirrorOf>')
assert log =~ /<toolchain><type>jdk<\/type>/
assert log.contains('the repository local.central of settings.xml stays out')
assert !log.contains('a-secret')
assert log.contains('can be read by Maven 3.9 or newer, and in the sandbox it would be 3.8.8')
assert log.contains('could not run it, see above')
return true
