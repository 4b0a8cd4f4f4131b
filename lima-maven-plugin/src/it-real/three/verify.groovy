def sandbox = { String... words ->
    def builder = new ProcessBuilder([new File(basedir, '../../../../sandbox').canonicalPath] + words.toList())
            .directory(basedir).redirectErrorStream(true).redirectOutput(new File(basedir, 'again.log'))
    builder.environment().putAll([LIMA_HOME: limaHome, SANDBOX_TEMPLATE: System.getenv('SANDBOX_REAL_TEMPLATE')])
    def process = builder.start()
    process.outputStream.close()
    process.waitFor()
}
try {
    def log = new File(basedir, 'build.log').text
    assert log.contains("making 'three' for " + basedir)
    assert log.contains('exited with status 1 in the sandbox')
    if (log =~ /(?i)exit code 134|exited with status 134|crashed\?/) {
        println 'a JVM crashed, as one emulated in software does now and then: once more'
        sandbox('.', 'mvn', '-B', '-ntp', '-fae', 'verify')
    }
    def report = { module, name ->
        new groovy.xml.XmlSlurper().parse(new File(basedir, "$module/target/surefire-reports/TEST-it.${name}.xml"))
    }
    def core = report('core', 'CoreTest')
    assert core.@tests == '1' && core.@failures == '0' && core.@errors == '0'
    assert core.testcase.'system-out'.text().contains('on lima-three')
    assert report('app', 'AppTest').@failures == '1'
    def container = report('container', 'ContainerTest')
    assert container.@tests == '1' && container.@failures == '0' && container.@errors == '0'
} finally {
    sandbox('sandboxes', 'delete', 'three', '--yes')
}
return true
