# Finds pybind11, Eigen, nlohmann/json and torch through the interpreter that builds us: as Python packages first, then
# as system packages. torch is optional: without it the engine is left out and everything that needs no model still works.

# Sets `out` to the first line that `code` prints, or to the empty string. The second try, with -I, sees the packages of
# the environment also where an isolated build has put its own folder first.
function(syco_ask_python out code)
  set(answer "")
  foreach(flags IN ITEMS "" "-I")
    if(answer STREQUAL "")
      execute_process(COMMAND ${Python_EXECUTABLE} ${flags} -c "${code}" OUTPUT_VARIABLE answer
                      OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    endif()
  endforeach()
  set(${out} "${answer}" PARENT_SCOPE)
endfunction()

syco_ask_python(pybind11_folder "import pybind11; print(pybind11.get_cmake_dir())")
find_package(pybind11 3.0 REQUIRED CONFIG HINTS "${pybind11_folder}")

syco_ask_python(site_folders "import site, sysconfig; print(';'.join({sysconfig.get_path('purelib'), *site.getsitepackages()}))")
find_path(SYCO_EIGEN_INCLUDE Eigen/Dense HINTS ${site_folders} PATH_SUFFIXES cmeel.prefix/include/eigen3 eigen3 REQUIRED)
find_path(SYCO_JSON_INCLUDE nlohmann/json.hpp HINTS ${site_folders} PATH_SUFFIXES nlohmann_json/include REQUIRED)
add_library(syco_eigen INTERFACE)
target_include_directories(syco_eigen SYSTEM INTERFACE ${SYCO_EIGEN_INCLUDE})
add_library(syco_json INTERFACE)
target_include_directories(syco_json SYSTEM INTERFACE ${SYCO_JSON_INCLUDE})

set(SYCO_TORCH_VERSION "")
if(SYCO_BUILD_ENGINE)
  syco_ask_python(SYCO_TORCH_FOLDER "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])")
  if(SYCO_TORCH_FOLDER)
    syco_ask_python(torch_facts "import torch; print(f'{torch.__version__};{int(torch.compiled_with_cxx11_abi())}')")
    list(GET torch_facts 0 SYCO_TORCH_VERSION)
    list(GET torch_facts 1 torch_abi)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${SYCO_TORCH_FOLDER}/version.py)
    # By path, not by find_package(Torch): the package of a CUDA wheel asks for a CUDA toolkit, which nothing here needs.
    add_library(syco_torch INTERFACE)
    target_include_directories(syco_torch SYSTEM INTERFACE ${SYCO_TORCH_FOLDER}/include
                               ${SYCO_TORCH_FOLDER}/include/torch/csrc/api/include)
    target_compile_definitions(syco_torch INTERFACE _GLIBCXX_USE_CXX11_ABI=${torch_abi})
    target_link_libraries(syco_torch INTERFACE ${SYCO_TORCH_FOLDER}/lib/libtorch_cpu.so ${SYCO_TORCH_FOLDER}/lib/libc10.so)
    message(STATUS "scoring engine: torch ${SYCO_TORCH_VERSION}")
  else()
    message(STATUS "scoring engine: left out, ${Python_EXECUTABLE} has no torch")
  endif()
endif()
